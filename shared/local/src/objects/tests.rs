//! Files as objects: what is listed, under which names, and what cannot be read.

use super::*;

async fn list(root: &Path) -> (Vec<ObjectId>, Vec<PortError>) {
    Files.list(root.to_str().unwrap()).await.unwrap()
}

fn sources(objects: &[ObjectId]) -> Vec<&str> {
    objects.iter().map(|object| object.source.as_str()).collect()
}

async fn open(path: &Path) -> Object {
    let (objects, _) = list(path).await;
    Files.open(&objects[0]).await.unwrap()
}

async fn content(mut object: Object) -> Vec<u8> {
    let mut content = Vec::new();
    while let Some(piece) = object.content.next().await.unwrap() {
        assert!(!piece.is_empty() && piece.len() <= PIECE);
        content.extend_from_slice(&piece);
    }
    content
}

async fn version(path: &Path, content: &[u8]) -> String {
    fs::write(path, content).unwrap();
    open(path).await.version
}

#[tokio::test]
async fn lists_a_folder_whole_and_sorted_by_its_names_inside() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("b/.hidden")).unwrap();
    for name in ["b.log", "b/z.log", "b/.hidden/a.log", "a log.gz", ".dot"] {
        fs::write(folder.path().join(name), "x").unwrap();
    }
    let (objects, errors) = list(folder.path()).await;
    assert_eq!(sources(&objects), [".dot", "a log.gz", "b.log", "b/.hidden/a.log", "b/z.log"]);
    assert!(errors.is_empty());
    assert_eq!(list(&folder.path().join("b/..")).await.0, objects, "the way to a file is no part of its identity");
}

#[tokio::test]
async fn a_file_keeps_the_name_it_was_given_and_has_one_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.log");
    fs::write(&file, "x").unwrap();
    fs::create_dir(folder.path().join("sub")).unwrap();
    let crooked = folder.path().join("sub/../a.log");
    let (straight, other) = (list(&file).await.0, list(&crooked).await.0);
    assert_eq!(sources(&other), [crooked.to_str().unwrap()]);
    assert_eq!(other[0].key, straight[0].key);
    assert!(Path::new(&other[0].key).is_absolute());
}

#[tokio::test]
async fn the_standard_input_is_a_dash() {
    let (objects, errors) = Files.list("-").await.unwrap();
    assert_eq!((sources(&objects), errors.len()), (vec!["-"], 0));
}

#[tokio::test]
async fn what_is_not_there_is_not_found_and_not_an_empty_list() {
    let error = Files.list("/nonexistent/\u{1b}[2Jlogs").await.unwrap_err();
    assert_eq!(error.failure, Failure::NotFound);
    assert!(error.to_string().contains("read /nonexistent/\\u{1b}[2Jlogs"), "{error}");
}

#[tokio::test]
async fn content_comes_in_pieces_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("big");
    let bytes: Vec<u8> = (0..700_000_u32).map(|n| n.to_le_bytes()[n as usize % 3]).collect();
    fs::write(&file, &bytes).unwrap();
    let object = open(&file).await;
    assert_eq!(object.size, Some(700_000));
    assert!(object.modified.is_some());
    assert!(content(object).await == bytes);

    fs::write(&file, "").unwrap();
    assert_eq!(content(open(&file).await).await, b"");
}

#[tokio::test]
async fn a_file_that_grew_keeps_its_version_and_a_rotated_one_gets_another() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log");
    let first = version(&file, b"line 1").await;
    assert_eq!(version(&file, b"line 1\n").await, first);
    assert_eq!(version(&file, b"line 1\r\nline 2\n").await, first);
    assert_ne!(version(&file, b"line 2\n").await, first);

    let long = [b'x'; 5000];
    assert_eq!(version(&file, &long[..1024]).await, version(&file, &long).await);
}

#[tokio::test]
async fn a_header_that_every_file_begins_with_does_not_make_two_files_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log");
    let first = version(&file, b"#Version: 1.0\n#Fields: date time\n2026-03-01 10:00\n").await;
    assert_ne!(version(&file, b"#Version: 1.0\n#Fields: date time\n2026-03-02 10:00\n").await, first);
    assert_eq!(version(&file, b"#Version: 1.0\n#Fields: date time\n2026-03-01 10:00\nmore\n").await, first);
}

#[tokio::test]
async fn gzip_has_no_first_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log.gz");
    let first = version(&file, b"\x1f\x8b\x08\x00\n....\nA").await;
    assert_ne!(version(&file, b"\x1f\x8b\x08\x00\n....\nB").await, first);
}

#[tokio::test]
async fn a_version_that_is_gone_is_not_found() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log");
    let old = version(&file, b"old\n").await;
    let mut id = list(&file).await.0.remove(0);
    id.version = Some(old);
    assert!(Files.open(&id).await.is_ok());
    fs::write(&file, "new\n").unwrap();
    assert_eq!(Files.open(&id).await.err().unwrap().failure, Failure::NotFound);
}

#[cfg(unix)]
mod unix {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[tokio::test]
    async fn links_are_followed_loops_left_and_dangling_ones_reported() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir(root.join("sub")).unwrap();
        fs::write(root.join("sub/a"), "x").unwrap();
        symlink(root, root.join("sub/loop")).unwrap();
        symlink(root.join("sub/a"), root.join("link")).unwrap();
        symlink("gone", root.join("dangling")).unwrap();
        let (objects, errors) = list(root).await;
        assert_eq!(sources(&objects), ["link", "sub/a"]);
        assert_eq!(objects[0].key, objects[1].key, "two names of one file are one file");
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].failure, Failure::NotFound);
        assert!(errors[0].to_string().contains("dangling"), "{}", errors[0]);
    }

    #[tokio::test]
    async fn special_files_are_errors_that_name_them_and_are_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        fs::write(folder.path().join("log"), "x").unwrap();
        let (objects, errors) = list(folder.path()).await;
        assert_eq!(sources(&objects), ["log"]);
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert!(errors[0].contains("pipe") && errors[0].contains("a named pipe"), "{errors:?}");
        assert!(errors[1].contains("socket") && errors[1].contains("a socket"), "{errors:?}");
        let error = Files.list(pipe.to_str().unwrap()).await.unwrap_err();
        assert_eq!(error.failure, Failure::Permanent);
        let id = object_id("pipe".into(), pipe.to_str().unwrap().into());
        assert_eq!(Files.open(&id).await.err().unwrap().failure, Failure::Permanent);
    }

    #[tokio::test]
    async fn names_that_are_not_utf_8_are_shown_lossily_and_can_be_opened() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(OsStr::from_bytes(b"caf\xe9.log")), "bytes").unwrap();
        let (objects, errors) = list(folder.path()).await;
        assert!(errors.is_empty());
        assert_eq!(sources(&objects), ["caf\u{fffd}.log"]);
        assert_eq!(content(Files.open(&objects[0]).await.unwrap()).await, b"bytes");
    }
}
