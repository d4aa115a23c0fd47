//! An emulated AWS: one process a story, with IAM enforced, on a free port of 127.0.0.1.

use std::env;
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::aws::Aws;
use super::ground::emulator_python;
use super::poll::poll_until;
use super::sigv4::Credentials;
use super::story::Story;

/// The emulated account.
pub const ACCOUNT: &str = "123456789012";
/// The emulated region.
pub const REGION: &str = "us-east-1";

/// An emulated AWS. Dropping it ends it, with all functions that it runs.
pub struct Emulator {
    /// The account's root user.
    pub root: Aws,
    process: Child,
}

/// A mail that SES accepted.
#[derive(Debug, Clone)]
pub struct Mail {
    /// Its recipients.
    pub to: Vec<String>,
    /// Its subject.
    pub subject: String,
    /// Its text part.
    pub text: String,
}

impl Emulator {
    /// Starts one. `environment` is added to its environment, which functions inherit.
    pub fn start(story: &Story, environment: &[(&str, &str)]) -> Result<Self> {
        let python = emulator_python()?;
        let port = free_port()?;
        let endpoint = format!("http://127.0.0.1:{port}");
        let log_path = story.log(&format!("emulator-{port}.log"));
        let log = File::create(&log_path).with_context(|| format!("create {}", log_path.display()))?;
        let temporary = story.folder().join(format!("tmp-{port}"));
        fs::create_dir_all(&temporary).with_context(|| format!("create {}", temporary.display()))?;
        let mut command = Command::new(python);
        command
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/emulator/shim.py"))
            // Nothing of the caller's environment reaches the functions: no credentials, no proxy, no endpoint.
            .env_clear()
            .env("PATH", env::var_os("PATH").unwrap_or_default())
            .envs([("HOME", &temporary), ("TMPDIR", &temporary)])
            .envs([
                ("AUTH", "true"),
                ("AWS_ENDPOINT_URL", &endpoint),
                ("BIND_HOST", "127.0.0.1"),
                ("CLOUDTRAIL_RECORDING", "1"),
                ("GATEWAY_PORT", &port.to_string()),
                ("IOT_MTLS_ENABLED", "0"),
                ("LAMBDA_EXECUTOR", "local"),
                ("MINISTACK_ACCOUNT_ID", ACCOUNT),
                ("MINISTACK_REGION", REGION),
                // The folder of shim.py stays as it is.
                ("PYTHONDONTWRITEBYTECODE", "1"),
                ("PYTHONUNBUFFERED", "1"),
                ("SFTP_ENABLED", "0"),
            ])
            .envs(environment.iter().copied())
            .current_dir(&temporary)
            // Its own group, which it ends itself when its standard input closes: also when this process is killed.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().context("share the log")?)
            .stderr(log);
        let process = command.spawn().with_context(|| format!("start {}", python.display()))?;
        let credentials = Credentials { access_key: ACCOUNT.to_owned(), secret: "test".to_owned() };
        let mut emulator = Self { root: Aws::new(&endpoint, REGION, credentials), process };
        emulator.wait_until_ready()?;
        Ok(emulator)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let Self { root, process } = self;
        poll_until(Duration::from_mins(1), "the emulator is ready", || {
            if let Some(status) = process.try_wait().context("look after the emulator")? {
                bail!("the emulator ended with {status} before it was ready: see its log");
            }
            Ok(root.get("/_ministack/ready").ok().filter(|answer| answer.status == 200).map(|_| ()))
        })
    }

    /// A new IAM user who may do anything, and a client that acts as them.
    pub fn user(&self, name: &str) -> Result<Aws> {
        self.root.query("iam", "CreateUser", &[("UserName", name)])?;
        let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;
        let all = [("UserName", name), ("PolicyName", "all"), ("PolicyDocument", policy)];
        self.root.query("iam", "PutUserPolicy", &all)?;
        let key = self.root.query("iam", "CreateAccessKey", &[("UserName", name)])?;
        let credentials = Credentials {
            access_key: super::xml::text(&key, "AccessKeyId"),
            secret: super::xml::text(&key, "SecretAccessKey"),
        };
        Ok(self.root.with_credentials(credentials))
    }

    /// Every mail so far, oldest first.
    pub fn mails(&self) -> Result<Vec<Mail>> {
        let answer = self.root.get("/_ministack/ses/messages")?.json()?;
        let word = |mail: &Value, key: &str| mail[key].as_str().unwrap_or_default().to_owned();
        let read = |mail: &Value| Mail {
            to: mail["To"].as_array().into_iter().flatten().filter_map(|to| to.as_str().map(str::to_owned)).collect(),
            subject: word(mail, "Subject"),
            text: word(mail, "BodyText"),
        };
        Ok(answer["messages"][ACCOUNT].as_array().into_iter().flatten().map(read).collect())
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // Closing its standard input is the signal to end.
        drop(self.process.stdin.take());
        let ended = poll_until(Duration::from_secs(10), "the emulator ends", || Ok(self.process.try_wait()?));
        if ended.is_err() {
            self.process.kill().ok();
            self.process.wait().ok();
        }
    }
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("find a free port")?;
    Ok(listener.local_addr().context("find a free port")?.port())
}
