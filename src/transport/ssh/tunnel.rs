//! The byte stream to a node behind a jump host: a `direct-tcpip` channel of the jump host's
//! session (RFC 4254, 7.2).
//!
//! russh can convert a channel to a stream itself, but then two sessions on top of each other can
//! deadlock: the inner one does not read while it waits to write, so the outer one fills the
//! channel's queue, stops, and never receives the window that the inner one waits for. Here,
//! received data goes into a queue that never blocks. A correct server sends no more than the
//! windows of the inner session's channels allow; if a jump host sends more, the stream ends with
//! an error.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::stream::{Stream, poll_fn};
use russh::ChannelMsg;
use russh::client::Msg;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, DuplexStream};
use tokio::sync::{mpsc, oneshot};
use tokio_util::bytes::{Bytes, BytesMut};
use tokio_util::io::StreamReader;

/// Maximum number of bytes that may wait to be sent.
const QUEUE: usize = 256 * 1024;

/// Returns a stream over `channel`, in which at most `most` bytes may wait to be read. It ends, for
/// reading and writing, when the channel ends or `given_up` is triggered.
pub(super) fn stream(
    channel: russh::Channel<Msg>,
    most: usize,
    given_up: oneshot::Receiver<()>,
) -> impl AsyncRead + AsyncWrite + Unpin + Send + 'static {
    let (near, mut far) = tokio::io::duplex(QUEUE);
    let (arrived, arrivals) = queue(most);
    tokio::spawn(async move {
        let (mut reader, writer) = channel.split();
        let send = async {
            loop {
                let mut buffer = BytesMut::with_capacity(QUEUE);
                match far.read_buf(&mut buffer).await {
                    Ok(count) if count > 0 && writer.data_bytes(buffer.freeze()).await.is_ok() => {}
                    _ => break,
                }
            }
        };
        let receive = async {
            while let Some(message) = reader.wait().await {
                let data = match message {
                    ChannelMsg::Data { data } => data,
                    ChannelMsg::Eof | ChannelMsg::Close => break,
                    _ => continue,
                };
                if !arrived.push(data) {
                    break;
                }
            }
        };
        tokio::select! {
            () = send => {}
            () = receive => {}
            Ok(()) = given_up => {}
        }
        // The jump host may be gone already.
        let _ = writer.close().await;
    });
    tokio::io::join(StreamReader::new(arrivals), writing(near))
}

/// The receiving end of the queue.
struct Arrived {
    queue: mpsc::UnboundedSender<io::Result<Bytes>>,
    waiting: Arc<AtomicUsize>,
    most: usize,
}

impl Arrived {
    /// Adds data; returns whether there was space and a reader. If there is no space, the reader
    /// gets an error.
    fn push(&self, data: Bytes) -> bool {
        let waiting = self.waiting.fetch_add(data.len(), Ordering::Relaxed) + data.len();
        if waiting <= self.most {
            return self.queue.send(Ok(data)).is_ok();
        }
        let _ =
            self.queue.send(Err(io::Error::other("the jump host sends more data than allowed")));
        false
    }
}

/// Returns a queue for `most` bytes, with the received data as a stream of buffers.
fn queue(most: usize) -> (Arrived, impl Stream<Item = io::Result<Bytes>> + Unpin + Send) {
    let (queue, mut arrivals) = mpsc::unbounded_channel::<io::Result<Bytes>>();
    let waiting = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&waiting);
    let arriving = poll_fn(move |context| {
        arrivals.poll_recv(context).map(|data| {
            data.inspect(|data| {
                counter.fetch_sub(data.as_ref().map_or(0, Bytes::len), Ordering::Relaxed);
            })
        })
    });
    (Arrived { queue, waiting, most }, arriving)
}

/// Returns the writing half. Nothing is ever read from it.
fn writing(near: DuplexStream) -> impl AsyncWrite + Unpin + Send {
    near
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_waits_to_be_read_is_bounded() {
        let (arrived, arrivals) = queue(1000);
        let mut reader = StreamReader::new(arrivals);
        let mut all = vec![0; 400];
        // With a reader, any amount passes through.
        for _ in 0..100 {
            assert!(
                arrived.push(Bytes::from(vec![7; 400])) && arrived.push(Bytes::from(vec![7; 400]))
            );
            reader.read_exact(&mut all).await.expect("the first");
            reader.read_exact(&mut all).await.expect("the second");
        }
        assert!(arrived.push(Bytes::from(vec![7; 1000])));
        assert!(!arrived.push(Bytes::from(vec![7; 1])), "there is no room for one more");
        drop(arrived);
        let mut rest = Vec::new();
        let error = reader.read_to_end(&mut rest).await.expect_err("it ends with an error");
        assert_eq!(
            (rest.len(), error.to_string().as_str()),
            (1000, "the jump host sends more data than allowed")
        );
    }
}
