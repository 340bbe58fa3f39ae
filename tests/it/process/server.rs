//! `tenantry serve` in a process of its own.

use std::{
    io::{BufRead, BufReader},
    process::{Child, ChildStderr, Command, ExitStatus, Stdio},
    sync::Arc,
};

use reqwest::Method;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use serde_json::Value;
use tokio::{
    sync::{oneshot, watch},
    time::{Duration, timeout},
};

use crate::support::{Answer, Database, PATIENCE, Settings};

/// A running server. Dropping it kills it.
pub struct Server {
    child: Child,
    url: String,
    ended: oneshot::Receiver<()>,
    log: Log,
    client: reqwest::Client,
}

/// Its lines, as they come.
type Log = Arc<watch::Sender<Vec<String>>>;

/// The program with its configuration and nothing else from around it.
pub fn tenantry(database: &Database, settings: &Settings, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenantry"));
    configure(&mut command, database, settings);
    command.args(arguments);
    command
}

fn configure(command: &mut Command, database: &Database, settings: &Settings) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Where there is no tenantry.toml.
    command.env_clear().env("PATH", path).envs(settings.variables(database)).current_dir(database.folder());
    command.env("TENANTRY_LOG__FORMAT", "json").stdin(Stdio::null()).stdout(Stdio::null());
}

/// Holds the database to every invariant, as the operator would.
pub fn assert_doctor_reads_zero(database: &Database, settings: &Settings) {
    let mut doctor = tenantry(database, settings, &["doctor"]);
    let output = doctor.stdout(Stdio::piped()).stderr(Stdio::piped()).output().expect("doctor runs");
    let told = [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat();
    assert!(output.status.success(), "doctor: {told}");
}

impl Server {
    /// Starts one and waits until it listens.
    pub async fn start(database: &Database, settings: &Settings, arguments: &[&str]) -> Self {
        let command = tenantry(database, settings, &[&["serve"], arguments].concat());
        Self::listening(command).await.unwrap_or_else(|log| panic!("the server did not start:\n{log}"))
    }

    /// Starts one that dies at a failpoint.
    pub async fn start_to_die_at(database: &Database, settings: &Settings, point: &str) -> Self {
        let mut command = tenantry(database, settings, &["serve", "--no-worker"]);
        command.env("FAILPOINTS", format!("{point}=return(die)"));
        Self::listening(command).await.unwrap_or_else(|log| panic!("the server did not start:\n{log}"))
    }

    /// Starts one that gets SIGKILL at the beginning of a thread's `nth` system call of that name. Nothing where that was before
    /// it listened.
    pub async fn start_to_die_in(database: &Database, settings: &Settings, call: &str, nth: usize) -> Option<Self> {
        let mut command = Command::new("strace");
        configure(&mut command, database, settings);
        command.args(["--follow-forks", "--quiet=all", "--output=/dev/null", &format!("--trace={call}")]);
        command.arg(format!("--inject={call}:signal=SIGKILL:when={nth}"));
        command.args([env!("CARGO_BIN_EXE_tenantry"), "serve", "--no-worker"]);
        Self::listening(command).await.ok()
    }

    async fn listening(mut command: Command) -> Result<Self, String> {
        // Loopback needs none, but the client insists. Once a process; a second time it says so.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build().expect("a client");
        let child = command.stderr(Stdio::piped()).spawn().expect("a process");
        let (log, (listens, address), (ends, ended)) = (Log::default(), oneshot::channel(), oneshot::channel());
        // From here on, whatever happens, it is killed when it is dropped.
        let mut server = Self { child, url: String::new(), ended, log, client };
        let (stderr, log) = (server.child.stderr.take().expect("its log"), server.log.clone());
        std::thread::spawn(move || {
            follow(stderr, &log, listens);
            let _ = ends.send(());
        });
        server.url = address.await.map_err(|_| server.log())?;
        Ok(server)
    }

    /// The server's process, as leases name it.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Asks it to stop with SIGTERM, and waits for its end.
    pub async fn stop(self) -> ExitStatus {
        let pid = i32::try_from(self.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, Signal::TERM).expect("SIGTERM");
        self.wait().await
    }

    /// Kills it with SIGKILL, and waits for its end.
    pub async fn kill(self) {
        self.send_kill();
        self.wait().await;
    }

    /// Kills it with SIGKILL; under strace, which would leave it running, the server first.
    pub fn send_kill(&self) {
        let id = self.id().to_string();
        let traced = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        for pid in traced.split_whitespace().chain([id.as_str()]) {
            let pid = pid.parse().ok().and_then(Pid::from_raw).expect("a process id");
            kill_process(pid, Signal::KILL).expect("SIGKILL");
        }
    }

    /// Tells it to stop, with SIGTERM.
    pub fn send_terminate(&self) {
        kill_process(self.pid(), Signal::TERM).expect("SIGTERM");
    }

    /// Lets it have only so many open files, however many it has; returns how many it was let before.
    pub fn allow_files(&self, files: Option<u64>) -> Option<u64> {
        // It has inherited our own.
        let maximum = getrlimit(Resource::Nofile).maximum;
        let before = prlimit(Some(self.pid()), Resource::Nofile, Rlimit { current: files, maximum });
        before.expect("a lower limit is allowed").current
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// Waits for its end.
    pub async fn wait(mut self) -> ExitStatus {
        let _ = (&mut self.ended).await;
        self.child.wait().expect("its status")
    }

    /// Sends a request; nothing where the connection ended before the whole answer was there.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        sent: Option<(&str, &Value)>,
    ) -> Option<Answer> {
        let mut request = self.client.request(method, format!("{}{path}", self.url)).timeout(Duration::from_mins(1));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some((key, body)) = sent {
            request = request.header("Idempotency-Key", key).json(body);
        }
        let response = request.send().await.ok()?;
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.ok()?;
        Some(Answer { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::Null), text })
    }

    /// The wizard's first step, under a key.
    pub async fn start_signup(&self, key: &str, body: &Value) -> Option<Answer> {
        self.call(Method::POST, "/public/signup/start", None, Some((key, body))).await
    }

    /// What it has logged so far, for a failure's message.
    pub fn log(&self) -> String {
        self.log.borrow().join("\n")
    }

    /// Waits until it has logged this message so often; returns those events.
    pub async fn logged(&self, msg: &str, times: usize) -> Vec<Value> {
        let events = |lines: &[String]| -> Vec<Value> {
            let events = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            events.filter(|event| event["msg"] == msg).collect()
        };
        let mut log = self.log.subscribe();
        let logged = timeout(PATIENCE, log.wait_for(|lines| events(lines).len() >= times)).await.map(drop);
        logged.unwrap_or_else(|_| panic!("{msg:?}, {times} times, is not in the log:\n{}", self.log()));
        events(&self.log.borrow())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.send_kill();
            let _ = self.child.wait();
        }
    }
}

/// Reads a server's log to its end, and tells the address once it listens.
fn follow(stderr: ChildStderr, log: &Log, listens: oneshot::Sender<String>) {
    let mut listens = Some(listens);
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        let event: Value = serde_json::from_str(&line).unwrap_or_default();
        if event["msg"] == "Listening"
            && let (Some(listens), Some(bound)) = (listens.take(), event["bound"].as_str())
        {
            let _ = listens.send(format!("http://{bound}"));
        }
        log.send_modify(|lines| lines.push(line));
    }
}
