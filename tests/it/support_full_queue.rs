//! A port whose packets are dropped, as by a firewall.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use nix::sys::socket::{Backlog, listen};

/// A port whose queue of connections is full, so that the kernel drops each attempt.
pub struct FullQueue {
    listener: TcpListener,
    _waiting: Vec<TcpStream>,
}

impl FullQueue {
    pub fn new() -> FullQueue {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // A second `listen` only changes the length of the queue, which std makes 128.
        listen(&listener, Backlog::new(0).unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let attempt = || TcpStream::connect_timeout(&address, Duration::from_millis(300));
        let waiting = std::iter::from_fn(|| attempt().ok()).collect();
        FullQueue {
            listener,
            _waiting: waiting,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }
}
