use std::os::unix::fs::PermissionsExt;

use super::*;

#[test]
fn a_path_that_is_a_file_or_missing_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a-file");
    std::fs::write(&file, b"").unwrap();
    let error = OsFs::open(&file).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotADirectory);
    assert!(error.to_string().ends_with("a-file: is a file; a store is a directory"), "{error}");
    let error = OsFs::create(&file.join("below")).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotADirectory);
    let error = OsFs::open(&directory.path().join("nowhere")).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(error.to_string().ends_with("nowhere: does not exist"), "{error}");
}

#[test]
fn missing_parents_are_created() {
    let directory = tempfile::tempdir().unwrap();
    let deep = directory.path().join("a/b/c");
    let fs = OsFs::create(&deep).unwrap();
    assert!(deep.is_dir());
    assert_eq!(fs.describe(), deep.display().to_string());
    OsFs::create(&deep).unwrap();
}

#[test]
fn a_directory_that_may_not_be_read_says_so() {
    if rustix::process::geteuid().is_root() {
        // Root reads everything; the kernel's refusal cannot be had.
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let closed = directory.path().join("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o000)).unwrap();
    let error = OsFs::open(&closed).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
}

#[test]
fn the_directory_is_followed_when_its_path_is_renamed() {
    let directory = tempfile::tempdir().unwrap();
    let fs = OsFs::create(&directory.path().join("old")).unwrap();
    std::fs::rename(directory.path().join("old"), directory.path().join("new")).unwrap();
    fs.open("here", OpenMode::Create).unwrap();
    assert!(directory.path().join("new/here").is_file());
}

#[test]
fn only_regular_files_are_listed() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("folder")).unwrap();
    std::os::unix::fs::symlink("folder", directory.path().join("link")).unwrap();
    std::fs::write(directory.path().join("file"), b"x").unwrap();
    let fs = OsFs::open(directory.path()).unwrap();
    assert_eq!(fs.list().unwrap(), ["file"]);
}

#[test]
fn a_mapped_file_stays_whole_when_its_pages_go_and_its_name_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let fs = OsFs::open(directory.path()).unwrap();
    let file = fs.open("sealed", OpenMode::Create).unwrap();
    let bytes: Vec<u8> = (0..100_000_u32).map(|i| (i * 7 % 251) as u8).collect();
    crate::vfs::write_all_at(&*file, 0, &bytes).unwrap();
    file.sync_data().unwrap();
    let map = file.map().unwrap();
    fs.unlink("sealed").unwrap();
    drop(file);
    for range in [0..100_000, 8192..16_384, 99_999..200_000, 7..7] {
        map.populate(range.clone());
        assert_eq!(map.bytes(), bytes);
        map.release(range);
        assert_eq!(map.bytes(), bytes);
    }
}

#[test]
fn an_empty_file_maps_to_no_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let fs = OsFs::open(directory.path()).unwrap();
    let map = fs.open("empty", OpenMode::Create).unwrap().map().unwrap();
    map.populate(0..10);
    map.release(0..10);
    assert!(map.bytes().is_empty());
}

#[test]
fn space_that_cannot_be_claimed_in_one_call_is_claimed_by_writing_zeros() {
    let directory = tempfile::tempdir().unwrap();
    let fs = OsFs::open(directory.path()).unwrap();
    let file = OsFile { file: fs.open_file("log", OFlags::RDWR | OFlags::CREATE).unwrap() };
    file.write_at(0, b"kept").unwrap();
    file.claim_with_zeros(4, 200_001).unwrap();
    assert_eq!(file.len().unwrap(), 200_001);
    let mut start = [9; 8];
    file.read_at(0, &mut start).unwrap();
    assert_eq!(&start, b"kept\0\0\0\0");
}
