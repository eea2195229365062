//! The listener of an endpoint, its thread, and one thread for each connection, which reads requests, records them and
//! sends the responses.
//!
//! A closed endpoint must refuse connections and keep its port, or another test could bind it before it opens again. `shutdown` on the listening socket does both on Linux (connections are refused, the thread in `accept`
//! wakes up, the explicitly bound port stays taken), so the socket is kept until there is another.

use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::request::{Origin, Reader};
use super::response::{Content, Delivery};
use super::shared::{Arrival, Shared};
use super::wire::Wire;
use super::{Endpoint, Response, proxy, service};

pub struct Listener {
    endpoint: Endpoint,
    address: SocketAddr,
    shared: Arc<Shared>,
    state: Mutex<State>,
}

enum State {
    Closed(TcpListener),
    Open(TcpListener, JoinHandle<()>),
}

impl Listener {
    /// Binds an address (port 0: a free port) and starts to accept.
    pub fn start(shared: &Arc<Shared>, endpoint: Endpoint, address: &str) -> io::Result<Listener> {
        let socket = bind(address)?;
        let address = socket.local_addr()?;
        let state = Mutex::new(State::Closed(socket));
        let listener = Listener {
            endpoint,
            address,
            shared: Arc::clone(shared),
            state,
        };
        listener.accept()?;
        Ok(listener)
    }

    pub fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// `host:port` for a client on this machine: a name where a certificate is to be checked.
    pub fn authority(&self) -> String {
        let secure = self.shared.tls.contains_key(&self.endpoint);
        let local =
            self.address.ip().is_unspecified() || self.address.ip() == IpAddr::from([127, 0, 0, 1]);
        let port = self.address.port();
        match (local, secure) {
            (true, true) => format!("localhost:{port}"),
            (true, false) => format!("127.0.0.1:{port}"),
            (false, _) => self.address.to_string(),
        }
    }

    /// Refuses connections, and ends the open ones.
    pub fn close(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State::Open(listener, _) = &*state else {
            return;
        };
        self.shared.lock().listening.remove(&self.endpoint);
        let kept = listener.try_clone().expect("a free descriptor");
        shut(&kept);
        let State::Open(_, thread) = std::mem::replace(&mut *state, State::Closed(kept)) else {
            unreachable!("it was open a moment ago, and the lock was held since")
        };
        thread.join().expect("the accepting thread does not panic");
        self.shared.cut(self.endpoint);
    }

    /// Accepts connections again.
    pub fn open(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Closed(_) = &*state {
            *state = State::Closed(self.bind_again().expect("the port is reserved"));
            drop(state);
            self.accept().expect("threads can be started");
        }
    }

    /// The closed socket keeps the port; this one can share it, since neither listens at that moment.
    fn bind_again(&self) -> io::Result<TcpListener> {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            match TcpListener::bind(self.address) {
                Err(error)
                    if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline =>
                {
                    thread::sleep(Duration::from_millis(5));
                }
                result => return result,
            }
        }
    }

    fn accept(&self) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State::Closed(listener) = &*state else {
            return Ok(());
        };
        let (mine, threads) = (listener.try_clone()?, listener.try_clone()?);
        let (endpoint, shared) = (self.endpoint, Arc::clone(&self.shared));
        self.shared.lock().listening.insert(endpoint);
        let thread = thread::Builder::new()
            .name(endpoint.name().to_owned())
            .spawn(move || {
                while let Ok((stream, _)) = threads.accept() {
                    // Otherwise small writes wait for the client's acknowledgement.
                    if stream.set_nodelay(true).is_ok() {
                        serve_in_thread(&shared, endpoint, Arc::new(stream));
                    }
                }
            })?;
        *state = State::Open(mine, thread);
        Ok(())
    }
}

/// `shutdown` releases a port that the kernel chose, but not one that was named. So a free port is found first and then
/// bound by its number, again if another process was faster.
fn bind(address: &str) -> io::Result<TcpListener> {
    let chosen_by_kernel = address.ends_with(":0");
    loop {
        let listener = TcpListener::bind(address)?;
        if !chosen_by_kernel {
            return Ok(listener);
        }
        let found = listener.local_addr()?;
        drop(listener);
        match TcpListener::bind(found) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            result => return result,
        }
    }
}

fn shut(listener: &TcpListener) {
    // std has no `shutdown` for listeners.
    let socket: TcpStream = OwnedFd::from(listener.try_clone().expect("a free descriptor")).into();
    socket
        .shutdown(Shutdown::Both)
        .expect("a listening socket can be shut down");
}

fn serve_in_thread(shared: &Arc<Shared>, endpoint: Endpoint, stream: Arc<TcpStream>) {
    let Some(number) = shared.enter(endpoint, &stream) else {
        return;
    };
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        // Errors are those of clients that ended the connection, often on purpose.
        let _ = serve(&shared, endpoint, number, stream);
        shared.leave(number);
    });
}

fn serve(
    shared: &Shared,
    endpoint: Endpoint,
    number: u64,
    stream: Arc<TcpStream>,
) -> io::Result<()> {
    if shared.lock().muted.contains(&endpoint) {
        shared.wait_while_mute(endpoint);
        return Ok(());
    }
    let mut wire = match shared.tls.get(&endpoint) {
        Some(config) => Wire::tls(Arc::clone(&stream), Arc::clone(config))?,
        None => Wire::plain(Arc::clone(&stream)),
    };
    let origin = Origin {
        endpoint,
        connection: number,
        tls: wire.version(),
        sni: wire.sni(),
    };
    let mut reader = Reader::new();
    while let Some(request) = reader.next(&mut wire, &origin)? {
        let mut arrival = shared.arrive(request);
        let scripted = arrival.scripted.is_some();
        let mut response = arrival.scripted.take().unwrap_or_else(Response::usual);
        shared.pause(response.delay);
        if response.held {
            shared.wait_for_release(&arrival);
        }
        if endpoint == Endpoint::Proxy && matches!(response.content, Content::Usual) {
            match proxy::lead(shared, &arrival.request) {
                Ok(behind) if reader.is_empty() && shared.pass(number, behind) => {
                    io::Write::write_all(
                        &mut wire,
                        b"HTTP/1.1 200 Connection established\r\n\r\n",
                    )?;
                    drop(wire);
                    return serve(shared, behind, number, stream);
                }
                Ok(_) => response = Response::text(502, "no connection to that host"),
                Err(refusal) => response = refusal,
            }
        }
        let closes = arrival
            .request
            .header("connection")
            .is_some_and(|v| v.eq_ignore_ascii_case("close"));
        match deliver(shared, &arrival, response, scripted, wire)? {
            Some(same) if closes => {
                same.finish();
                return Ok(());
            }
            Some(same) => wire = same,
            None => return Ok(()),
        }
    }
    wire.finish();
    Ok(())
}

/// Sends the response. Returns the wire if it can send another.
fn deliver(
    shared: &Shared,
    arrival: &Arrival,
    response: Response,
    scripted: bool,
    mut wire: Wire,
) -> io::Result<Option<Wire>> {
    let request = &arrival.request;
    let delivery = response.delivery;
    if let Content::Raw(bytes) = &response.content {
        io::Write::write_all(&mut wire, bytes)?;
        wire.drop_silently();
        return Ok(None);
    }
    let message = service::message(shared, request, response, scripted);
    match delivery {
        Delivery::Whole => {
            wire.send(&message)?;
            return Ok(Some(wire));
        }
        Delivery::Drip(interval) => {
            wire.drip(&message, interval, shared)?;
            return Ok(Some(wire));
        }
        Delivery::Endless => wire.send_endless(&message)?,
        Delivery::Fin => wire.drop_silently(),
        Delivery::Half => {
            wire.send_half(&message)?;
            wire.drop_silently();
        }
        Delivery::Reset => {
            shared.leave(request.connection);
            wire.reset()?;
        }
    }
    Ok(None)
}
