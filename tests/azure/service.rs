//! Completes a response: the service's own body where the test has not set one, the names of the request in texts, and the
//! headers of the service.

use super::response::Content;
use super::shared::Shared;
use super::wire::Message;
use super::{Endpoint, Request, Response, imds, login, platform, token, vault};

/// The whole response.
pub fn message(shared: &Shared, request: &Request, response: Response, scripted: bool) -> Message {
    let Response {
        content,
        mut headers,
        bare,
        ..
    } = response;
    let (status, body) = match content {
        Content::Usual => {
            let usual = usual(shared, request);
            let Content::Whole(status, body) = usual.content else {
                unreachable!("services have whole bodies")
            };
            headers.extend(usual.headers);
            (status, body)
        }
        Content::Whole(status, body) if scripted => (status, fill(shared, request, body)),
        Content::Whole(status, body) => (status, body),
        Content::Token(status, mut fields) => {
            token::fill(shared, request, &mut fields);
            (status, fields.to_string().into_bytes())
        }
        Content::Raw(_) => unreachable!("raw bytes are no message"),
    };
    if !bare {
        let date = ("Date", date(shared.now()));
        for (name, value) in signature(request).into_iter().chain([date]) {
            if !headers
                .iter()
                .any(|(had, _)| had.eq_ignore_ascii_case(name))
            {
                headers.push((name.to_owned(), value));
            }
        }
    }
    Message {
        status,
        headers,
        body,
    }
}

fn usual(shared: &Shared, request: &Request) -> Response {
    match request.endpoint {
        Endpoint::Imds => imds::respond(shared, request),
        Endpoint::Login => login::respond(shared, request),
        Endpoint::Platform => platform::respond(shared, request),
        Endpoint::TokenProxy => login::respond_through_proxy(shared, request),
        Endpoint::Vault => vault::respond(shared, request),
        Endpoint::Proxy => unreachable!("the proxy has its own responses"),
    }
}

/// The headers of every response of a service.
fn signature(request: &Request) -> Vec<(&'static str, String)> {
    let id = ("x-ms-request-id", request.request_id.clone());
    match request.endpoint {
        Endpoint::Imds => vec![("Server", "IMDS/150.870.65.528".to_owned())],
        Endpoint::Login | Endpoint::TokenProxy => vec![
            ("Cache-Control", "no-store, no-cache".to_owned()),
            id,
            (
                "x-ms-ests-server",
                "2.1.20000.0 - WEULR1 ProdSlices".to_owned(),
            ),
        ],
        Endpoint::Platform => vec![("Server", "Kestrel".to_owned())],
        Endpoint::Proxy => Vec::new(),
        Endpoint::Vault => {
            let mut headers = vec![
                ("Cache-Control", "no-cache".to_owned()),
                ("x-ms-keyvault-region", "westeurope".to_owned()),
                id,
                ("x-ms-keyvault-service-version", "1.9.1713.1".to_owned()),
                (
                    "x-ms-keyvault-network-info",
                    "conn_type=Ipv4;addr=203.0.113.5;act_addr_fam=InterNetwork;".to_owned(),
                ),
            ];
            headers.extend(
                request
                    .header("x-ms-client-request-id")
                    .map(|v| ("x-ms-client-request-id", v.to_owned())),
            );
            headers
        }
    }
}

/// `Thu, 31 Dec 2020 23:59:50 GMT` (RFC 9110, IMF-fixdate).
fn date(unix: u64) -> String {
    let (days, seconds) = (unix / 86_400, unix % 86_400);
    let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][(days % 7) as usize];
    // https://howardhinnant.github.io/date_algorithms.html#civil_from_days
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = year_of_era + era * 400 + u64::from(month >= 10);
    let month = [
        "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Jan", "Feb",
    ][month as usize];
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{weekday}, {day:02} {month} {year} {hour:02}:{minute:02}:{second:02} GMT")
}

fn fill(shared: &Shared, request: &Request, body: Vec<u8>) -> Vec<u8> {
    if !body.contains(&b'{') {
        return body;
    }
    // A body that is not UTF-8 has no placeholders.
    let text = match String::from_utf8(body) {
        Ok(text) => text,
        Err(error) => return error.into_bytes(),
    };
    text.replace("{caller}", &vault::caller(shared, request))
        .replace("{credential}", &request.credential())
        .replace("{form}", &String::from_utf8_lossy(&request.body))
        .replace("{host}", &request.host)
        .replace("{secret}", vault::secret_name(request))
        .replace("{vault}", vault::vault_name(&request.host))
        .into_bytes()
}
