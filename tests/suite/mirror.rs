// SPDX-License-Identifier: GPL-2.0-only
//! A mirror on this machine that passes on what the archive has, remembers what it was asked for, and lies
//! when it is told to. Packages that it has passed on are kept in the shared cache: they never change.

use std::collections::HashMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::harness::Context;

/// Names the mirror to vexlab.
pub(crate) const VARIABLE: &str = "VEXLAB_DEBIAN_MIRROR";

/// Nothing listens here.
pub(crate) const NOBODY: &str = "http://127.0.0.1:9";

const ARCHIVE: &str = "http://deb.debian.org";

/// What the mirror does to files whose path has a certain text in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    /// A bit in the middle is another one.
    Changed,
    /// Half of it is all there is.
    CutShort,
    /// Half of it comes, and then nothing more.
    Stalled,
}

/// A mirror, which ends with this value.
pub(crate) struct Mirror {
    url: String,
    shared: Arc<Shared>,
}

struct Shared {
    archive: String,
    kept: PathBuf,
    over: AtomicBool,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    lie: Option<(String, Lie)>,
    asked: Vec<String>,
}

/// A response: its status line, the headers that matter, and its body.
struct Response {
    status: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Mirror {
    pub(crate) fn start(context: &Context) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port of this machine");
        let port = listener.local_addr().expect("it has a number").port();
        let shared = Arc::new(Shared {
            archive: std::env::var(VARIABLE).unwrap_or_else(|_| ARCHIVE.to_owned()),
            kept: context.cache().join("vexlab/suite/mirror"),
            over: AtomicBool::new(false),
            told: Mutex::default(),
        });
        thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                for stream in listener.incoming().flatten() {
                    if shared.over.load(Ordering::Relaxed) {
                        return;
                    }
                    let shared = Arc::clone(&shared);
                    // A client that goes away is no failure of the mirror.
                    thread::spawn(move || drop(shared.serve(&stream)));
                }
            }
        });
        Self { url: format!("http://127.0.0.1:{port}"), shared }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Lies about files whose path has this text in it, from now on.
    pub(crate) fn lie(&self, about: &str, lie: Lie) {
        self.shared.told().lie = Some((about.to_owned(), lie));
    }

    /// Is honest from now on.
    pub(crate) fn repent(&self) {
        self.shared.told().lie = None;
    }

    /// The names of the packages that it was asked for since this was called last.
    pub(crate) fn packages(&self) -> Vec<String> {
        let asked = std::mem::take(&mut self.shared.told().asked);
        let names = asked.iter().filter_map(|path| path.strip_suffix(".deb")?.rsplit('/').next());
        let mut names: Vec<String> =
            names.map(|name| name.split('_').next().unwrap_or(name).to_owned()).collect();
        names.sort();
        names
    }

    /// Whether it was asked for a file with this text in its path since [`packages`](Self::packages).
    pub(crate) fn was_asked_for(&self, text: &str) -> bool {
        self.shared.told().asked.iter().any(|path| path.contains(text))
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for clients.
        drop(TcpStream::connect(self.url.trim_start_matches("http://")));
    }
}

impl Shared {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers one client's requests, one after the other.
    fn serve(&self, stream: &TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(stream);
        let mut client = stream;
        while let Some((path, headers)) = read_request(&mut reader)? {
            self.told().asked.push(path.clone());
            let mut response = self.fetch(&path, &headers)?;
            let lie = self.told().lie.clone().filter(|(about, _)| path.contains(about)).map(|(_, lie)| lie);
            let half = response.body.len() / 2;
            match lie {
                Some(Lie::Changed) if half > 0 => response.body[half] ^= 1,
                Some(Lie::CutShort) => response.body.truncate(half),
                _ => {}
            }
            write!(client, "{}\r\n", response.status)?;
            for (name, value) in &response.headers {
                write!(client, "{name}: {value}\r\n")?;
            }
            write!(client, "Content-Length: {}\r\n\r\n", response.body.len())?;
            if lie == Some(Lie::Stalled) {
                client.write_all(&response.body[..half])?;
                while !self.over.load(Ordering::Relaxed) && self.told().lie.is_some() {
                    thread::sleep(Duration::from_millis(50));
                }
                return Ok(());
            }
            client.write_all(&response.body)?;
        }
        Ok(())
    }

    /// What the archive has. Whole packages come from among those that are kept, if they are there.
    fn fetch(&self, path: &str, headers: &HashMap<String, String>) -> io::Result<Response> {
        let is_package = path.contains("/pool/") && !headers.contains_key("range");
        let kept = self.kept.join(path.trim_start_matches('/').replace("..", "").replace('/', "_"));
        if is_package && let Ok(body) = fs::read(&kept) {
            return Ok(Response { status: "HTTP/1.1 200 OK".to_owned(), headers: Vec::new(), body });
        }
        let response = self.ask(path, headers)?;
        if is_package && response.status.contains(" 200 ") {
            fs::create_dir_all(&self.kept)?;
            let mut file = tempfile::NamedTempFile::new_in(&self.kept)?;
            file.write_all(&response.body)?;
            file.persist(&kept)?;
        }
        Ok(response)
    }

    fn ask(&self, path: &str, headers: &HashMap<String, String>) -> io::Result<Response> {
        let address = self.archive.trim_start_matches("http://").trim_end_matches('/');
        let (host, prefix) = address
            .split_once('/')
            .map_or((address, String::new()), |(host, prefix)| (host, format!("/{prefix}")));
        let port = if host.contains(':') { "" } else { ":80" };
        let mut stream = TcpStream::connect(format!("{host}{port}"))?;
        write!(stream, "GET {prefix}{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n")?;
        for name in ["range", "if-range", "if-modified-since", "cache-control", "user-agent"] {
            if let Some(value) = headers.get(name) {
                write!(stream, "{name}: {value}\r\n")?;
            }
        }
        write!(stream, "\r\n")?;
        let mut reader = BufReader::new(stream);
        let status = read_line(&mut reader)?.unwrap_or_default();
        let wanted = ["last-modified", "content-range", "content-type", "location"];
        let mut headers: Vec<_> = read_headers(&mut reader)?.into_iter().collect();
        let value =
            |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
        let length: Option<u64> = value("content-length").and_then(|value| value.parse().ok());
        let in_pieces = value("transfer-encoding").is_some_and(|value| value == "chunked");
        headers.retain(|(name, _)| wanted.contains(&name.as_str()));
        let mut body = Vec::new();
        match length {
            _ if in_pieces => read_pieces(&mut reader, &mut body)?,
            Some(length) => {
                let read = reader.take(length).read_to_end(&mut body)? as u64;
                if read != length {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            None => drop(reader.read_to_end(&mut body)?),
        }
        Ok(Response { status, headers, body })
    }
}

/// The path that a client asks for, and the headers; nothing when the client is done.
fn read_request(reader: &mut impl BufRead) -> io::Result<Option<(String, HashMap<String, String>)>> {
    let Some(line) = read_line(reader)? else { return Ok(None) };
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    Ok(Some((path, read_headers(reader)?)))
}

fn read_headers(reader: &mut impl BufRead) -> io::Result<HashMap<String, String>> {
    let mut headers = HashMap::new();
    while let Some(line) = read_line(reader)?.filter(|line| !line.is_empty()) {
        if let Some((name, value)) = line.split_once(':') {
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    Ok(headers)
}

/// A body that comes in pieces, each after its length (RFC 9112, section 7.1).
fn read_pieces(reader: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let line = read_line(reader)?.unwrap_or_default();
        let digits = line.split(';').next().unwrap_or_default();
        let length = u64::from_str_radix(digits.trim(), 16).map_err(io::Error::other)?;
        reader.take(length).read_to_end(body)?;
        read_line(reader)?;
        if length == 0 {
            return Ok(());
        }
    }
}

fn read_line(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = String::new();
    let length = reader.read_line(&mut line)?;
    Ok((length > 0).then(|| line.trim_end().to_owned()))
}
