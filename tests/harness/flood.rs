//! A flood of requests to a listener, from connections that are kept, from new ones, and from some
//! that say nothing or take their time.

use std::{
    collections::BTreeMap,
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How long a flooder waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who floods: a thread each.
#[derive(Clone, Copy, Debug)]
pub enum Flooder {
    /// Sends on so many connections, one after the other, and keeps each as long as it may.
    Kept(usize),
    /// Sends each request on a connection of its own.
    New,
    /// Holds so many connections open and says nothing.
    Silent(usize),
    /// Sends on so many connections a request that would take a quarter of an hour: a byte of its
    /// body each second.
    Slow(usize),
}

/// What the flood was answered.
#[derive(Clone, Debug, Default)]
pub struct Answered {
    /// How many answers of each status there were.
    pub by_status: BTreeMap<u16, u64>,
    /// Connections that were refused, or ended without an answer.
    pub broken: u64,
}

impl Answered {
    /// All requests that were answered.
    pub fn total(&self) -> u64 {
        self.by_status.values().sum()
    }

    /// Those that were answered so.
    pub fn of(&self, status: u16) -> u64 {
        self.by_status.get(&status).copied().unwrap_or_default()
    }
}

/// A flood that goes on until it is dropped.
#[derive(Debug)]
pub struct Flood {
    over: Arc<AtomicBool>,
    answered: Arc<Mutex<Answered>>,
    threads: Vec<JoinHandle<()>>,
}

impl Flood {
    /// Posts to this `http://` URL with these headers; each flooder rests for so long after each
    /// request.
    pub fn start(
        url: &str,
        headers: &[(&str, &str)],
        rest: Duration,
        flooders: &[Flooder],
    ) -> Self {
        let rest_of_url = url.strip_prefix("http://").unwrap();
        let (address, path) = rest_of_url.split_once('/').unwrap();
        let headers: String = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let head = format!("POST /{path} HTTP/1.1\r\nhost: {address}\r\n{headers}content-length: ");
        let (over, answered) = (Arc::<AtomicBool>::default(), Arc::default());
        let threads = flooders.iter().map(|flooder| {
            let sender = Sender {
                address: address.to_owned(),
                head: head.clone(),
                rest,
                over: Arc::clone(&over),
                answered: Arc::clone(&answered),
            };
            match *flooder {
                Flooder::Kept(connections) => thread::spawn(move || sender.send(connections, true)),
                Flooder::New => thread::spawn(move || sender.send(1, false)),
                Flooder::Silent(connections) => thread::spawn(move || sender.hold(connections)),
                Flooder::Slow(connections) => thread::spawn(move || sender.drip(connections)),
            }
        });
        let threads = threads.collect();
        Self {
            over,
            answered,
            threads,
        }
    }

    /// What it was answered up to now.
    pub fn answered(&self) -> Answered {
        self.answered.lock().unwrap().clone()
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking(), "a flooder failed");
        }
    }
}

struct Sender {
    address: String,
    /// The request up to the length of its body.
    head: String,
    rest: Duration,
    over: Arc<AtomicBool>,
    answered: Arc<Mutex<Answered>>,
}

impl Sender {
    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    fn connect(&self) -> Option<TcpStream> {
        let stream = TcpStream::connect(&self.address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.set_nodelay(true).ok()?;
        Some(stream)
    }

    /// A request on each of the connections, then their answers, and again.
    fn send(&self, connections: usize, keep: bool) {
        let request = format!("{}2\r\n\r\n{{}}", self.head);
        let mut open: Vec<Option<TcpStream>> = (0..connections).map(|_| None).collect();
        while self.goes_on() {
            for slot in &mut open {
                let mut stream = slot.take().or_else(|| self.connect());
                let sent = stream
                    .as_mut()
                    .is_some_and(|stream| stream.write_all(request.as_bytes()).is_ok());
                *slot = stream.filter(|_| sent);
            }
            for slot in &mut open {
                let kept = slot.take().and_then(|stream| self.answer(stream));
                *slot = kept.filter(|_| keep);
                thread::sleep(self.rest);
                if !self.goes_on() {
                    return;
                }
            }
        }
    }

    /// Reads an answer and counts it; the connection, where the server keeps it.
    fn answer(&self, mut stream: TcpStream) -> Option<TcpStream> {
        let mut head = [0; 1024];
        let read = stream.read(&mut head).unwrap_or_default();
        let text = String::from_utf8_lossy(&head[..read]);
        let mut answered = self.answered.lock().unwrap();
        match text.get(9..12).and_then(|status| status.parse().ok()) {
            Some(status) => *answered.by_status.entry(status).or_default() += 1,
            None => answered.broken += 1,
        }
        (read > 0 && !text.contains("connection: close")).then_some(stream)
    }

    /// Opens connections, and new ones where they are closed.
    fn hold(&self, connections: usize) {
        let mut open: Vec<Option<TcpStream>> = (0..connections).map(|_| None).collect();
        while self.goes_on() {
            for slot in &mut open {
                *slot = slot.take().filter(is_open).or_else(|| self.unblocking());
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sends bodies a byte at a time until they are answered, and begins anew.
    fn drip(&self, connections: usize) {
        let head = format!("{}900\r\n\r\n", self.head);
        let mut open: Vec<Option<(TcpStream, Instant)>> = (0..connections).map(|_| None).collect();
        while self.goes_on() {
            for slot in &mut open {
                let Some((mut stream, sent)) = slot.take() else {
                    let begun = self
                        .unblocking()
                        .filter(|mut stream| stream.write_all(head.as_bytes()).is_ok());
                    *slot = begun.map(|stream| (stream, Instant::now()));
                    continue;
                };
                if !is_open(&stream) {
                    self.answer(stream);
                } else if sent.elapsed() < Duration::from_secs(1) {
                    *slot = Some((stream, sent));
                } else if stream.write_all(b"x").is_ok() {
                    *slot = Some((stream, Instant::now()));
                }
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// A connection that does not wait for what is to be read.
    fn unblocking(&self) -> Option<TcpStream> {
        let stream = self.connect()?;
        stream.set_nonblocking(true).ok()?;
        Some(stream)
    }
}

/// Whether the other side has neither closed it nor answered; for one that does not block.
fn is_open(stream: &TcpStream) -> bool {
    let peeked = stream.peek(&mut [0]);
    peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}
