//! An S3 server on this machine, and a line to it that fails.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::program::{Place, files};

pub const SKIPPED: &str = "skipped: AJEPA_PYTHON names no interpreter with moto";

/// A server with one bucket, `corpus`.
pub struct Bucket {
    server: Child,
    /// `127.0.0.1:PORT`.
    pub address: String,
}

impl Bucket {
    /// `None` where there is no such server to be started.
    pub fn start() -> Option<Self> {
        let python = std::env::var_os("AJEPA_PYTHON")?;
        let has = Command::new(&python).args(["-c", "import moto.server, flask_cors"]).stderr(Stdio::null()).status();
        if !has.is_ok_and(|status| status.success()) {
            return None;
        }
        let mut server = Command::new(&python);
        server.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]);
        let mut server = server.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the server starts");
        let mut said = BufReader::new(server.stderr.take().expect("its words"));
        let address = loop {
            let mut line = String::new();
            assert!(said.read_line(&mut line).expect("a line") > 0, "the server ended");
            if let Some((_, rest)) = line.split_once("http://") {
                break rest.trim().to_owned();
            }
        };
        // It writes a line for each request: somebody has to read them.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        let bucket = Self { server, address };
        bucket.put("", b"");
        Some(bucket)
    }

    /// Puts an object, as a program of another's would.
    pub fn put(&self, key: &str, content: &[u8]) {
        let answer = self.ask("PUT", key, content);
        assert!(answer.starts_with("HTTP/1.1 200"), "{key}: {answer}");
    }

    /// What the server answers.
    pub fn get(&self, key: &str) -> String {
        self.ask("GET", key, b"")
    }

    fn ask(&self, method: &str, key: &str, content: &[u8]) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("connects");
        let head = format!(
            "{method} /corpus/{key} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/octet-stream\r\n\
             Content-Length: {}\r\n\r\n",
            self.address,
            content.len()
        );
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(content)).expect("asks");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Puts all files of a folder under `prefix`.
    pub fn put_all(&self, folder: &std::path::Path, prefix: &str) {
        for (name, content) in files(folder) {
            self.put(&format!("{prefix}/{name}"), &content);
        }
    }

    /// What a program needs to know to reach it at `address`.
    pub fn env(address: &str) -> Vec<(String, String)> {
        let pairs = [
            ("AWS_ENDPOINT_URL", format!("http://{address}")),
            ("AWS_ACCESS_KEY_ID", "key".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "secret".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
        ];
        pairs.map(|(name, value)| (name.to_owned(), value)).to_vec()
    }

    /// A place whose commands reach it.
    pub fn place(&self) -> Place {
        let mut place = Place::new();
        place.env = Self::env(&self.address);
        place
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// A line to a server on which every connection fails in one way or another, sooner or later.
pub struct BadLine {
    pub address: String,
    /// Connections that have been broken.
    pub broken: Arc<AtomicUsize>,
}

impl BadLine {
    pub fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address").to_string();
        let broken = Arc::new(AtomicUsize::new(0));
        let (server, count) = (server.to_owned(), broken.clone());
        std::thread::spawn(move || {
            for (number, client) in listener.incoming().flatten().enumerate() {
                let (server, count) = (server.clone(), count.clone());
                std::thread::spawn(move || break_one(number, client, &server, &count));
            }
        });
        Self { address, broken }
    }
}

/// One connection: refused, answered with "slow down", cut within an answer, or cut after some answers.
fn break_one(number: usize, mut client: TcpStream, server: &str, count: &AtomicUsize) {
    let allowed = match number % 4 {
        0 => {
            let mut head = [0; 512];
            let _ = client.read(&mut head);
            let _ = client.write_all(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            0
        }
        1 => 0,
        2 => 10_000,
        _ => 150_000,
    };
    if allowed > 0 {
        let Ok(upstream) = TcpStream::connect(server) else { return };
        let (mut from, mut to) = (client.try_clone().expect("a clone"), upstream.try_clone().expect("a clone"));
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
        let _ = std::io::copy(&mut upstream.take(allowed), &mut client);
    }
    count.fetch_add(1, Ordering::Relaxed);
    let _ = client.shutdown(Shutdown::Both);
}
