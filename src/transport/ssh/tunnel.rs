//! The byte stream to a node behind a jump host: a `direct-tcpip` channel of the jump host's session (RFC 4254, 7.2).
//!
//! russh can make a stream of a channel itself, but two sessions on top of each other can then stall: the inner one
//! does not read while it waits to write, so the outer one fills the channel's queue, stops, and never sees the window
//! that the inner one waits for. Here what arrives goes into a queue without a bound. It cannot grow without end: the
//! far side sends no more than the windows that the inner session's channels have given it.

use std::io;

use futures_util::stream::{Stream, poll_fn};
use russh::ChannelMsg;
use russh::client::Msg;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, DuplexStream};
use tokio::sync::mpsc;
use tokio_util::bytes::{Bytes, BytesMut};
use tokio_util::io::StreamReader;

/// How much may wait to be sent, in bytes.
const QUEUE: usize = 256 * 1024;

/// A stream over `channel`. It ends, for reading and for writing, when the channel does.
pub(super) fn stream(channel: russh::Channel<Msg>) -> impl AsyncRead + AsyncWrite + Unpin + Send + 'static {
    let (near, mut far) = tokio::io::duplex(QUEUE);
    let (arrived, arrivals) = mpsc::unbounded_channel();
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
                if arrived.send(data).is_err() {
                    break;
                }
            }
        };
        tokio::select! {
            () = send => {}
            () = receive => {}
        }
        // The jump host may be gone already.
        let _ = writer.close().await;
    });
    tokio::io::join(StreamReader::new(read_from(arrivals)), writing(near))
}

/// What arrives, as a stream of buffers.
fn read_from(mut arrivals: mpsc::UnboundedReceiver<Bytes>) -> impl Stream<Item = io::Result<Bytes>> + Unpin + Send {
    poll_fn(move |context| arrivals.poll_recv(context).map(|data| data.map(Ok)))
}

/// The end that is written to. Nothing is ever read from it.
fn writing(near: DuplexStream) -> impl AsyncWrite + Unpin + Send {
    near
}
