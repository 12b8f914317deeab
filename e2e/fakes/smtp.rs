//! A mail server.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A letter as it was handed over.
#[derive(Clone, Debug, Default)]
pub struct Letter {
    pub from: String,
    pub to: Vec<String>,
    /// Headers and body.
    pub text: String,
}

#[derive(Default)]
struct Shelf {
    letters: Vec<Letter>,
    refusals: Vec<u16>,
}

/// A mail server that listens until it is dropped.
pub struct Smtp {
    pub address: SocketAddr,
    shelf: Arc<Mutex<Shelf>>,
    task: JoinHandle<()>,
}

impl Drop for Smtp {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Smtp {
    /// Listens at an address; port 0 is any free one.
    pub async fn start(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shelf = Arc::new(Mutex::new(Shelf::default()));
        let kept = shelf.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Who hangs up is of no interest.
                tokio::spawn(talk(stream, kept.clone()));
            }
        });
        Self { address, shelf, task }
    }

    /// The next letter is refused with this code, when its first recipient is named: 4xx may pass, 5xx does not.
    pub fn refuse(&self, code: u16) {
        self.shelf.lock().expect("no panic while it was held").refusals.push(code);
    }

    pub fn letters(&self) -> Vec<Letter> {
        self.shelf.lock().expect("no panic while it was held").letters.clone()
    }
}

async fn talk(stream: TcpStream, shelf: Arc<Mutex<Shelf>>) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    write.write_all(b"220 mail.example.com ESMTP\r\n").await?;
    let mut letter = Letter::default();
    while let Some(line) = lines.next_line().await? {
        let word = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        let address = || line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
        let answer = match word.as_str() {
            "EHLO" | "HELO" => "250 mail.example.com".to_owned(),
            "MAIL" => {
                letter = Letter { from: address(), ..Letter::default() };
                "250 ok".to_owned()
            }
            "RCPT" => {
                let refusal = shelf.lock().expect("no panic while it was held").refusals.pop();
                letter.to.push(address());
                refusal.map_or("250 ok".to_owned(), |code| format!("{code} as told"))
            }
            "DATA" => {
                write.write_all(b"354 go on\r\n").await?;
                while let Some(line) = lines.next_line().await?.filter(|line| line != ".") {
                    letter.text.push_str(line.strip_prefix('.').unwrap_or(&line));
                    letter.text.push('\n');
                }
                let done = std::mem::take(&mut letter);
                shelf.lock().expect("no panic while it was held").letters.push(done);
                "250 taken".to_owned()
            }
            "QUIT" => {
                write.write_all(b"221 bye\r\n").await?;
                return Ok(());
            }
            "RSET" | "NOOP" => "250 ok".to_owned(),
            _ => "502 not known".to_owned(),
        };
        write.write_all(format!("{answer}\r\n").as_bytes()).await?;
    }
    Ok(())
}
