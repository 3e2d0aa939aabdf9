use super::*;

/// What somebody does to a file, and what is seen of it.
type Spoilt = (fn(&Path), Option<&'static str>);

fn begin() -> Begin {
    Begin { boot: "b".into(), mark: "ab12".into(), born_ms: 7 }
}

fn start(n: usize) -> Record {
    Record::Start { id: format!("s\n{n}"), name: "\"a\" step".into(), mark: format!("ab12-{n}"), at_unix_ms: -1 }
}

fn journal(dir: &tempfile::TempDir) -> Journal {
    Journal::new(dir.path(), begin())
}

fn found(dir: &tempfile::TempDir) -> Found {
    Found::look([dir.path()]).expect("a journal")
}

#[test]
fn what_was_written_is_found() {
    let dir = tempfile::tempdir().expect("a directory");
    assert!(Found::look([dir.path(), &dir.path().join("nothing")]).is_none());
    let journal = journal(&dir);
    assert!(Found::look([dir.path()]).is_none(), "nothing was written yet");
    let claim = Record::Claim { id: "i-1".into(), lease_s: 60, max_age_s: -1, at_ms: 9 };
    let runs = Record::Runs { mark: "ab12-1".into(), handle: "4711/12".into() };
    let records =
        [claim, Record::Setup { epoch: "e".into() }, Record::Setup { epoch: String::new() }, start(0), start(1), runs];
    for record in &records {
        journal.write(record).expect("a line");
        assert_eq!(Record::read(record.line().trim_end()).as_ref(), Some(record));
    }
    let found = found(&dir);
    assert_eq!(found.begin, Some(begin()));
    assert_eq!(found.claim, Some(("i-1".into(), 60, -1, 9)));
    assert_eq!(found.epoch, "e");
    let steps: Vec<_> = found.steps.iter().map(|step| (step.id.as_str(), step.handle.as_deref())).collect();
    assert_eq!(steps, [("s\n0", None), ("s\n1", Some("4711/12"))]);
}

#[test]
fn marks_that_could_name_other_files_are_not_believed() {
    let dir = tempfile::tempdir().expect("a directory");
    let evil = Record::Start { id: "s".into(), name: String::new(), mark: "../../etc/shadow".into(), at_unix_ms: 0 };
    journal(&dir).write(&evil).expect("a line");
    assert!(found(&dir).steps.is_empty());
    let text = format!("{}{}", Begin { mark: "/".into(), ..begin() }.line(), start(0).line());
    std::fs::write(dir.path().join(NAME), text).expect("a file");
    assert_eq!((found(&dir).begin, found(&dir).steps.len()), (None, 1));
}

#[test]
fn damage_is_seen_and_own_lines_are_none() {
    let spoilt: [Spoilt; 4] = [
        (|_| {}, None),
        (|path| std::fs::remove_file(path).expect("a file"), Some("its journal was removed")),
        (|path| std::fs::write(path, "").expect("a file"), Some("its journal was changed")),
        (
            |path| {
                let copy = path.with_extension("copy");
                std::fs::copy(path, &copy).expect("a copy");
                std::fs::rename(copy, path).expect("a file");
            },
            Some("its journal was changed"),
        ),
    ];
    for (spoil, seen) in spoilt {
        let dir = tempfile::tempdir().expect("a directory");
        let journal = journal(&dir);
        assert_eq!(journal.damage(), None, "there is none yet");
        for n in 0..3 {
            journal.write(&start(n)).expect("a line");
            assert_eq!(journal.damage(), None);
        }
        spoil(&dir.path().join(NAME));
        assert_eq!(journal.damage(), seen);
        // A line that is written afterwards does not hide it.
        journal.write(&start(3)).expect("a line");
        assert_eq!(journal.damage(), seen);
    }
}

/// A disk of one MiB and a half, if this process may have one.
struct Disk(tempfile::TempDir);

impl Disk {
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().expect("a directory");
        let mount = ["-t", "tmpfs", "-o", "size=1536k", "tmpfs"];
        let mounted = std::process::Command::new("mount").args(mount).arg(dir.path()).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Self(dir))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(std::process::Command::new("umount").arg(self.0.path()).status());
    }
}

#[test]
fn a_disk_that_fills_up_later_keeps_no_step_from_starting() {
    let Some(disk) = Disk::mount() else { return };
    let journal = journal(&disk.0);
    journal.write(&start(0)).expect("a line");
    let mut file = File::create(disk.0.path().join("all")).expect("a file");
    while file.write_all(&[b'x'; 4096]).is_ok() {}
    for n in 1..2000 {
        journal.write(&start(n)).expect("a line");
    }
    // When even what was set aside is used up, nothing is half written.
    let full = (2000..100_000).find(|n| journal.write(&start(*n)).is_err()).expect("an end of the disk");
    assert_eq!((found(&disk.0).steps.len(), journal.damage()), (full, None));
    file.set_len(0).expect("a file");
    journal.write(&start(full)).expect("a line");
    assert_eq!(found(&disk.0).steps.len(), full + 1);
}
