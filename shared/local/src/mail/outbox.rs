//! An outbox: a folder that gets every mail as a file, to be read by a mail program or sent by something else.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use cloudvigil_core::ports::{Clock, Failure, Mail, Mailer, PortError, PortResult};

use crate::digest::hex_prefix;
use crate::failure::{io_failure, shown_path};

/// How much of the subject goes into a file's name, in bytes. File systems allow 255 for all of it.
const SUBJECT: usize = 80;

/// How often a name that is taken is varied. More than this many equal mails in one second are a fault.
const VARIANTS: u32 = 10_000;

/// Tells the unfinished files of one process from one another.
static UNFINISHED: AtomicU64 = AtomicU64::new(0);

/// A folder of `.eml` files, one a mail, named by time, subject and a hash: `20260301T100000Z-the-subject-1a2b3c4d.eml`.
///
/// A file appears whole or not at all, and never takes another one's place. The folder is created with the first mail.
pub struct Outbox {
    folder: PathBuf,
    clock: Arc<dyn Clock>,
}

impl Outbox {
    /// The outbox in `folder`, which need not exist yet.
    pub fn new(folder: impl Into<PathBuf>, clock: Arc<dyn Clock>) -> Self {
        Self { folder: folder.into(), clock }
    }

    /// Writes `mail` and says where.
    pub fn write(&self, mail: &Mail) -> PortResult<PathBuf> {
        let what = || format!("write a mail to outbox {}", shown_path(&self.folder));
        fs::create_dir_all(&self.folder).map_err(|error| io_failure(what(), error))?;
        let number = UNFINISHED.fetch_add(1, Ordering::Relaxed);
        let unfinished = self.folder.join(format!(".{}-{number}.unfinished", std::process::id()));
        let outcome = write_new(&unfinished, &mail.message)
            .map_err(|error| io_failure(what(), error))
            .and_then(|()| self.place(&unfinished, mail, &what));
        // Under its final name it is another link; after a failure it is of no use.
        let _ = fs::remove_file(&unfinished);
        outcome
    }

    fn place(&self, unfinished: &Path, mail: &Mail, what: &dyn Fn() -> String) -> PortResult<PathBuf> {
        let time = self.clock.now().strftime("%Y%m%dT%H%M%SZ");
        let recipients = mail.recipients.join("\n");
        let hash = hex_prefix(&[recipients.as_bytes(), b"\n\n", &mail.message], 4);
        let name = format!("{time}-{}-{hash}", sanitised(&mail.subject));
        for variant in 1..=VARIANTS {
            let file = match variant {
                1 => format!("{name}.eml"),
                _ => format!("{name}-{variant}.eml"),
            };
            let path = self.folder.join(file);
            match publish(unfinished, &path) {
                Ok(()) => return Ok(path),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(io_failure(what(), error)),
            }
        }
        Err(PortError::new(Failure::Permanent, what(), format!("{VARIANTS} mails named {name} are there already")))
    }
}

#[async_trait]
impl Mailer for Outbox {
    async fn send(&self, mail: &Mail) -> PortResult<()> {
        self.write(mail).map(drop)
    }
}

fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    let mut file = match options.open(path) {
        // Left by a process that was killed and had the number that is ours now.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(path)?;
            options.open(path)?
        }
        opened => opened?,
    };
    file.write_all(content)?;
    file.sync_all()
}

/// Gives a finished file its name, unless that is taken. A rename would overwrite; a hard link does not.
fn publish(unfinished: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(unfinished, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            // A file system without hard links: the name is taken first, then filled in one step.
            OpenOptions::new().write(true).create_new(true).open(path)?;
            fs::rename(unfinished, path).inspect_err(|_| {
                let _ = fs::remove_file(path);
            })
        }
        outcome => outcome,
    }
}

/// The subject's letters and digits, everything else as single hyphens: a subject quotes logs, and those are hostile.
fn sanitised(subject: &str) -> String {
    let mut name = String::new();
    for character in subject.chars() {
        let character = if character.is_alphanumeric() { character } else { '-' };
        if character == '-' && (name.is_empty() || name.ends_with('-')) {
            continue;
        }
        if name.len() + character.len_utf8() > SUBJECT {
            break;
        }
        name.push(character);
    }
    let name = name.trim_end_matches('-');
    if name.is_empty() { "no-subject".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use cloudvigil_core::ports::Clock;
    use jiff::Timestamp;

    use super::*;

    struct Noon;

    impl Clock for Noon {
        fn now(&self) -> Timestamp {
            "2026-03-01T12:00:00Z".parse().unwrap()
        }
    }

    fn mail(subject: &str, message: &str) -> Mail {
        Mail {
            sender: "cloudvigil@example.com".into(),
            recipients: vec!["ops@example.com".into()],
            subject: subject.into(),
            message: message.as_bytes().to_vec(),
        }
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn names_a_mail_by_time_subject_and_hash_in_a_folder_that_it_creates() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a/outbox");
        let outbox = Outbox::new(&folder, Arc::new(Noon));
        outbox.send(&mail("[high] Trail stopped: main", "Subject: x\r\n\r\nbody\r\n")).await.unwrap();
        let names = names(&folder);
        assert_eq!(names.len(), 1);
        let hash = names[0].strip_prefix("20260301T120000Z-high-Trail-stopped-main-").unwrap();
        let hash = hash.strip_suffix(".eml").unwrap();
        assert!(hash.len() == 8 && hash.chars().all(|c| c.is_ascii_hexdigit()), "{hash}");
        assert_eq!(fs::read(folder.join(&names[0])).unwrap(), b"Subject: x\r\n\r\nbody\r\n");
    }

    #[test]
    fn hostile_subjects_stay_inside_the_folder() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("outbox");
        let outbox = Outbox::new(&folder, Arc::new(Noon));
        let long = "x".repeat(300);
        let long_korean = "\u{acbd}\u{bcf4}".repeat(150);
        let hostile = [
            "../../x",
            "..",
            "",
            "/etc/passwd",
            "a\r\nBcc: evil@example.com",
            "\0\u{202e}gpj.exe",
            "C:\\x",
            "CON",
            "\u{1b}[31mred",
            &long,
            &long_korean,
        ];
        for subject in hostile {
            let path = outbox.write(&mail(subject, subject)).unwrap();
            assert_eq!(path.parent(), Some(folder.as_path()));
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(name.starts_with("20260301T120000Z-") && name.len() <= 130, "{name:?}");
            assert!(name.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '.'), "{name:?}");
            assert_eq!(name.matches('.').count(), 1, "{name:?}");
        }
        assert_eq!(names(&folder).len(), hostile.len());
        assert_eq!(names(parent.path()), ["outbox"], "nothing may be written beside the outbox");
    }

    #[test]
    fn equal_mails_at_the_same_time_from_several_threads_all_stay() {
        let parent = tempfile::tempdir().unwrap();
        let outbox = Outbox::new(parent.path(), Arc::new(Noon));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10).for_each(|_| drop(outbox.write(&mail("same", "same")).unwrap())));
            }
        });
        let names = names(parent.path());
        assert_eq!(names.len(), 40, "each mail has a file of its own, and no unfinished one is left: {names:?}");
    }

    #[tokio::test]
    async fn an_outbox_that_cannot_be_is_an_error_that_names_it() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        fs::write(&file, "kept").unwrap();
        let error = Outbox::new(&file, Arc::new(Noon)).send(&mail("s", "m")).await.unwrap_err();
        assert_eq!(error.failure, Failure::Permanent);
        assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
        assert_eq!(fs::read(&file).unwrap(), b"kept");
    }
}
