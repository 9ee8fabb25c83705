//! Real repositories, keys and remotes for the tests of list updates: `git`, `ssh-keygen`, and `git http-backend` on loopback.

#![allow(dead_code, reason = "each test crate that includes this file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

/// The first commit's time; each further one is a minute later unless it says otherwise.
pub(crate) const EPOCH: i64 = 1_780_000_000;

/// A repository with a work tree, its keys, and room for what a test needs.
pub(crate) struct Lab {
    folder: TempDir,
    commits: i64,
}

impl Lab {
    /// An empty repository on branch `main`; the keys `publisher` and `stranger`; the file `signers` that lists the first.
    pub(crate) fn new() -> Self {
        let lab = Self { folder: tempfile::tempdir().unwrap(), commits: 0 };
        fs::create_dir(lab.path("work")).unwrap();
        lab.git(&["init", "--quiet", "-b", "main"]);
        for key in ["publisher", "stranger"] {
            let file = lab.path(key);
            let args = ["-q", "-t", "ed25519", "-N", "", "-C", key, "-f"];
            assert!(Command::new("ssh-keygen").args(args).arg(&file).status().unwrap().success());
        }
        lab.allow("");
        lab
    }

    /// A path in the lab's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The repository's folder.
    pub(crate) fn work(&self) -> PathBuf {
        self.path("work")
    }

    /// As `file://`.
    pub(crate) fn url(&self) -> String {
        format!("file://{}", self.work().display())
    }

    /// Lists the publisher's key with these options.
    pub(crate) fn allow(&self, options: &str) {
        let key = fs::read_to_string(self.path("publisher.pub")).unwrap();
        fs::write(self.path("signers"), format!("publisher@example.org {options} {key}")).unwrap();
    }

    /// Runs git in the repository, with a clean environment; its output without the last newline.
    pub(crate) fn git(&self, args: &[&str]) -> String {
        self.git_at(EPOCH + 60 * self.commits, args)
    }

    /// The same with the clock of authors at `time`.
    pub(crate) fn git_at(&self, time: i64, args: &[&str]) -> String {
        let output = git(&self.work(), time, args).output().unwrap();
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// Runs git with this on its stdin.
    pub(crate) fn git_with(&self, args: &[&str], input: &[u8]) -> String {
        let mut command = git(&self.work(), EPOCH, args);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "git {args:?}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// Writes a file of the work tree.
    pub(crate) fn write(&self, path: &str, octets: impl AsRef<[u8]>) {
        let file = self.work().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, octets).unwrap();
    }

    /// Commits everything, signed by the key, or by nobody if it is empty; the commit's id.
    pub(crate) fn commit(&mut self, key: &str) -> String {
        self.commits += 1;
        self.commit_at(key, EPOCH + 60 * self.commits)
    }

    /// The same with a time of its own.
    pub(crate) fn commit_at(&self, key: &str, time: i64) -> String {
        self.git(&["add", "--all"]);
        let signing = self.signing(key);
        let mut args: Vec<&str> = signing.iter().map(String::as_str).collect();
        let sign = if key.is_empty() { "--no-gpg-sign" } else { "-S" };
        args.extend(["commit", "--quiet", "--allow-empty", "-m", "update", sign]);
        self.git_at(time, &args);
        self.git(&["rev-parse", "HEAD"])
    }

    /// The settings with which git signs with this key.
    pub(crate) fn signing(&self, key: &str) -> Vec<String> {
        if key.is_empty() {
            return Vec::new();
        }
        let file = format!("user.signingkey={}", self.path(&format!("{key}.pub")).display());
        ["-c", "gpg.format=ssh", "-c", &file].map(str::to_owned).to_vec()
    }

    /// Writes `lists/a.txt` and commits it, signed by the publisher.
    pub(crate) fn publish(&mut self, text: &str) -> String {
        self.write("lists/a.txt", text);
        self.commit("publisher")
    }

    /// What `git verify-commit` or `verify-tag` says of a signature, as another opinion.
    pub(crate) fn git_verifies(&self, command: &str, what: &str) -> bool {
        let signers = format!("gpg.ssh.allowedSignersFile={}", self.path("signers").display());
        let args = ["-c", "gpg.format=ssh", "-c", &signers, command, what];
        git(&self.work(), EPOCH, &args).output().unwrap().status.success()
    }
}

fn git(folder: &Path, time: i64, args: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.args(args).current_dir(folder);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"GIT_")) {
        command.env_remove(name);
    }
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null").env("TZ", "UTC");
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "Publisher").env(format!("GIT_{who}_EMAIL"), "publisher@example.org");
        command.env(format!("GIT_{who}_DATE"), format!("{time} +0000"));
    }
    command
}

//----------- An SSH server on loopback --------------------------------------

/// OpenSSH's server with the key `stranger` as its own; the key `publisher` may log in as the user of the tests.
pub(crate) struct Sshd {
    process: Child,
    /// Where it listens.
    pub(crate) port: u16,
    /// Who may log in.
    pub(crate) user: String,
}

impl Sshd {
    /// Starts it and waits until it answers.
    pub(crate) fn start(lab: &Lab, program: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // Started by root it wants this folder, which its service would have made.
        let _ = fs::create_dir_all("/run/sshd");
        let folder = lab.path("");
        let folder = folder.display();
        let settings = format!(
            "ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder}/stranger\nAuthorizedKeysFile {folder}/publisher.pub\n\
             StrictModes no\nUsePAM no\nPidFile none\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n"
        );
        fs::write(lab.path("sshd_config"), settings).unwrap();
        let mut command = Command::new(program);
        command.args(["-D", "-f"]).arg(lab.path("sshd_config")).stderr(Stdio::null());
        let process = command.spawn().unwrap();
        let user = Command::new("id").arg("-un").output().unwrap().stdout;
        let user = String::from_utf8(user).unwrap().trim().to_owned();
        let server = Self { process, port, user };
        for _ in 0..100 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return server;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("sshd does not answer");
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

//----------- A web server on loopback ---------------------------------------

/// How a server behaves.
#[derive(Clone, Debug)]
pub(crate) enum Manner {
    /// `git http-backend` over the repository `work` in this folder.
    Git(PathBuf),
    /// Says that what is wanted lies there.
    Redirect(String),
    /// Takes the request and says nothing.
    Silent,
    /// Begins an answer and never ends it, an octet at a time.
    Endless,
}

/// A server that lives as long as the test.
pub(crate) struct Server {
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts one on a port of loopback.
    pub(crate) fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let manner = manner.clone();
                thread::spawn(move || serve(connection, &manner));
            }
        });
        Self { address }
    }

    /// The repository's address under a host's name.
    pub(crate) fn url(&self, host: &str) -> String {
        format!("http://{host}:{}/work/.git", self.address.port())
    }
}

fn serve(mut connection: TcpStream, manner: &Manner) -> Option<()> {
    let mut reader = BufReader::new(connection.try_clone().ok()?);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let header = |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
    let length = header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    match manner {
        Manner::Git(folder) => {
            let answer = backend(folder, &first, &header, &body)?;
            connection.write_all(&answer).ok()
        }
        Manner::Redirect(to) => {
            let path = first.split(' ').nth(1)?;
            let answer =
                format!("HTTP/1.1 301 Moved\r\nLocation: {to}{path}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            connection.write_all(answer.as_bytes()).ok()
        }
        Manner::Silent => {
            thread::sleep(Duration::from_secs(120));
            None
        }
        Manner::Endless => {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\n\r\n";
            connection.write_all(head.as_bytes()).ok()?;
            connection.write_all(b"001e# service=git-upload-pack\n0000fff0").ok()?;
            while connection.write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(20));
            }
            None
        }
    }
}

/// One request as CGI (RFC 3875) to `git http-backend`.
fn backend(folder: &Path, first: &str, header: &dyn Fn(&str) -> Option<String>, body: &[u8]) -> Option<Vec<u8>> {
    let mut words = first.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut command = git(folder, EPOCH, &["http-backend"]);
    command.env("GIT_PROJECT_ROOT", folder).env("GIT_HTTP_EXPORT_ALL", "1").env("REQUEST_METHOD", method);
    command.env("PATH_INFO", path).env("QUERY_STRING", query).env("CONTENT_LENGTH", body.len().to_string());
    for (name, variable) in [
        ("content-type", "CONTENT_TYPE"),
        ("git-protocol", "GIT_PROTOCOL"),
        ("content-encoding", "HTTP_CONTENT_ENCODING"),
    ] {
        command.env(variable, header(name).unwrap_or_default());
    }
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
    child.stdin.take()?.write_all(body).ok()?;
    let output = child.wait_with_output().ok()?.stdout;
    let status = output.strip_prefix(b"Status: ").map_or_else(
        || "200 OK".into(),
        |rest| String::from_utf8_lossy(rest.split(|octet| *octet == b'\r').next().unwrap_or_default()).into_owned(),
    );
    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n");
    Some([head.as_bytes(), &output].concat())
}
