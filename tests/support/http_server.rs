//! A web server for tests: a handful of files on loopback, with whatever misbehaviour a story calls
//! for.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What was asked for.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET` or `HEAD`.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Header values by lower-case name.
    pub headers: HashMap<String, String>,
}

/// What is answered.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// Headers beside the usual ones.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Bytes of the body that are sent before the connection is cut; `Content-Length` promises all
    /// of them.
    pub cut_after: Option<usize>,
    /// After what is sent, say nothing more and keep the connection.
    pub stall: bool,
}

type Handler = Box<dyn Fn(&Request, usize) -> Reply + Send>;

#[derive(Default)]
struct State {
    handlers: HashMap<String, Handler>,
    gets: HashMap<String, usize>,
    requests: Vec<Request>,
}

/// A running server; it ends with the test's runtime.
#[derive(Clone)]
pub struct Server {
    /// `http://127.0.0.1:port`.
    pub url: String,
    state: Arc<Mutex<State>>,
    /// What its own paths begin with.
    prefix: String,
}

impl Reply {
    /// A file, or the part of it that the request wants.
    pub fn file(request: &Request, body: &[u8]) -> Self {
        let length = body.len();
        let Some(from) = request.range_start() else { return Self::ok(body) };
        if from >= length {
            let headers = vec![("Content-Range".into(), format!("bytes */{length}"))];
            return Self { status: 416, headers, ..Self::default() };
        }
        let range = format!("bytes {from}-{}/{length}", length - 1);
        Self {
            status: 206,
            headers: vec![("Content-Range".into(), range)],
            body: body[from..].to_vec(),
            ..Self::default()
        }
    }

    /// The whole body, whatever part was asked for.
    pub fn ok(body: &[u8]) -> Self {
        Self { status: 200, body: body.to_vec(), ..Self::default() }
    }

    /// A status and nothing else.
    pub fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// The same with one more header.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

impl Request {
    /// Where a `Range: bytes=N-` begins.
    pub fn range_start(&self) -> Option<usize> {
        self.headers.get("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

impl Server {
    /// Listens on a free port of loopback.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port on loopback");
        let url = format!("http://{}", listener.local_addr().expect("a bound address"));
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = shared.clone();
                // A client that hangs up is part of many stories.
                tokio::spawn(async move { drop(serve(stream, &state).await) });
            }
        });
        Self { url, state, prefix: String::new() }
    }

    /// The same server, for what lies below a path.
    pub fn below(&self, path: &str) -> Self {
        Self { prefix: format!("{}{path}", self.prefix), ..self.clone() }
    }

    /// Answers `path` with a file, with ranges.
    pub fn file(&self, path: &str, body: impl Into<Vec<u8>>) {
        let body = body.into();
        self.handle(path, move |request, _| Reply::file(request, &body));
    }

    /// Answers `path` by `handler`, which is told how many GETs there were before.
    pub fn handle(&self, path: &str, handler: impl Fn(&Request, usize) -> Reply + Send + 'static) {
        let path = format!("{}{path}", self.prefix);
        self.state().handlers.insert(path, Box::new(handler));
    }

    /// There is nothing at `path` any more.
    pub fn remove(&self, path: &str) {
        assert!(self.state().handlers.remove(path).is_some(), "{path} was never served");
    }

    /// Every request so far; forgotten afterwards.
    pub fn take_requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.state().requests)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("a handler panicked")
    }
}

async fn serve(mut stream: TcpStream, state: &Mutex<State>) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or_default().split(' ');
    let method = first.next().unwrap_or_default().to_owned();
    let path = first.next().unwrap_or_default().to_owned();
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers =
        headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    let request = Request { method, path, headers };
    let reply = {
        let mut state = state.lock().expect("a handler panicked");
        state.requests.push(request.clone());
        let gets = state.gets.entry(request.path.clone()).or_default();
        let before = *gets;
        *gets += usize::from(request.method == "GET");
        let bare = request.path.split('?').next().unwrap_or_default();
        state
            .handlers
            .get(bare)
            .map_or_else(|| Reply::status(404), |handler| handler(&request, before))
    };
    let mut head = format!("HTTP/1.1 {} Because\r\nConnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("Content-Length: {}\r\n\r\n", reply.body.len());
    stream.write_all(head.as_bytes()).await?;
    if request.method != "HEAD" {
        let sent = reply.cut_after.unwrap_or(reply.body.len()).min(reply.body.len());
        stream.write_all(&reply.body[..sent]).await?;
        stream.flush().await?;
        if reply.stall {
            tokio::time::sleep(Duration::from_secs(600)).await;
        }
    }
    stream.shutdown().await
}
