//! What an SSH server of a test says in place of a shell.

use std::net::Shutdown;

use russh::server::{Handle, Msg};
use russh::{Channel, ChannelId, ChannelMsg};

/// An answer that no shell gives.
#[derive(Debug, Clone)]
pub enum Answer {
    /// This output and exit code; with `status_first` the code is sent before the output.
    Said { stdout: String, stderr: String, code: u32, status_first: bool },
    /// This, by somebody else than the command, which never begins: a forced command, nologin,
    /// sudo.
    Instead { stdout: String, stderr: String, code: u32 },
    /// This without an end, until nobody takes it any more.
    Endless { first: String, piece: Vec<u8>, errors: bool },
    /// Whatever this makes of the whole input.
    Read(fn(&str) -> String),
    /// Some output, then the link is cut without a word.
    CutAfter(String),
    /// The command is refused.
    Refused,
}

impl Answer {
    /// This output of a command that succeeds.
    pub fn said(stdout: String) -> Self {
        Self::Said { stdout, stderr: String::new(), code: 0, status_first: false }
    }
}

/// Says it, on the channel `id`; `marker` is what the command's own output begins with.
pub async fn say(
    answer: Answer,
    marker: &str,
    id: ChannelId,
    handle: &Handle,
    link: &std::net::TcpStream,
) {
    match answer {
        // The input has been read by now.
        Answer::Refused | Answer::Read(_) => {}
        Answer::Instead { stdout, stderr, code } => {
            let _ = handle.data(id, stdout.into_bytes()).await;
            let _ = handle.extended_data(id, 1, stderr.into_bytes()).await;
            let _ = handle.exit_status_request(id, code).await;
            let _ = handle.eof(id).await;
        }
        Answer::Endless { first, piece, errors } => {
            let _ = handle.data(id, first.replace("MARKER\n", marker).into_bytes()).await;
            let more = async || match errors {
                true => handle.extended_data(id, 1, piece.clone()).await,
                false => handle.data(id, piece.clone()).await,
            };
            while more().await.is_ok() {}
        }
        Answer::CutAfter(stdout) => {
            let _ = handle.data(id, format!("{marker}{stdout}").into_bytes()).await;
            let _ = link.shutdown(Shutdown::Both);
        }
        Answer::Said { stdout, stderr, code, status_first } => {
            if status_first {
                let _ = handle.exit_status_request(id, code).await;
            }
            let _ = handle.data(id, format!("{marker}{stdout}").into_bytes()).await;
            let _ = handle.extended_data(id, 1, format!("{marker}{stderr}").into_bytes()).await;
            if !status_first {
                let _ = handle.exit_status_request(id, code).await;
            }
            let _ = handle.eof(id).await;
        }
    }
}

/// All that a command is sent.
pub async fn input(mut channel: Channel<Msg>) -> String {
    let mut all = Vec::new();
    while let Some(message) = channel.wait().await {
        match message {
            ChannelMsg::Data { data } => all.extend_from_slice(&data),
            ChannelMsg::Eof | ChannelMsg::Close => break,
            _ => {}
        }
    }
    String::from_utf8_lossy(&all).into_owned()
}
