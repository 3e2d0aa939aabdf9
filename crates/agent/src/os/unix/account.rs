//! Accounts from `/etc/passwd` and `/etc/group`. Read by hand: the C library's lookup needs plugins that a static
//! binary cannot load.

use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::os::unix::fs::{chown, fchown};
use std::path::Path;

use nix::unistd::{Gid, Uid, setfsgid, setfsuid};

use super::files::read_text;

/// Who a step runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) name: Option<String>,
    pub(crate) home: Option<String>,
}

/// The user is not known.
#[derive(Debug, thiserror::Error)]
#[error("user {user:?} is not in /etc/passwd; give a numeric user id or an existing name")]
pub struct UnknownUser {
    user: String,
}

/// The account for a step's `user`; none when it is empty, or the agent's own.
pub(crate) fn find(user: &str) -> Result<Option<Account>, UnknownUser> {
    if user.is_empty() {
        return Ok(None);
    }
    let account = look_up_in(Path::new("/etc"), user).ok_or_else(|| UnknownUser { user: user.into() })?;
    Ok(Some(account).filter(|account| account.uid != nix::unistd::geteuid().as_raw()))
}

impl Account {
    /// Makes the file or directory at a path its own.
    pub(crate) fn own(&self, path: &Path) -> io::Result<()> {
        chown(path, Some(self.uid), Some(self.gid))
    }

    /// From now on this thread makes and opens files as the account, until the value is dropped. Only for the root user.
    pub(crate) fn act(&self) -> Acting {
        Acting { gid: setfsgid(Gid::from_raw(self.gid)), uid: setfsuid(Uid::from_raw(self.uid)), thread: PhantomData }
    }

    /// Makes an open file its own.
    pub(crate) fn own_file(&self, file: &File) -> io::Result<()> {
        fchown(file, Some(self.uid), Some(self.gid))
    }
}

/// A thread that acts as an account. It stays on that thread.
#[derive(Debug)]
pub(crate) struct Acting {
    uid: Uid,
    gid: Gid,
    thread: PhantomData<*const ()>,
}

impl Drop for Acting {
    fn drop(&mut self) {
        setfsuid(self.uid);
        setfsgid(self.gid);
    }
}

fn look_up_in(etc: &Path, user: &str) -> Option<Account> {
    // A missing file is an empty one: numeric users still work.
    let read = |name: &str| read_text(etc.join(name)).unwrap_or_default();
    look_up(user, &read("passwd"), &read("group"))
}

fn look_up(user: &str, passwd: &str, group: &str) -> Option<Account> {
    let uid: Option<u32> = user.parse().ok();
    let line = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| {
        let same_id = uid.is_some() && fields.get(2).and_then(|f| f.parse().ok()) == uid;
        fields.len() >= 6 && (fields[0] == user || same_id)
    });
    let Some(fields) = line else {
        // An id without an account gets the group of the same number, not root's.
        return uid.map(|uid| Account { uid, gid: uid, groups: vec![uid], name: None, home: None });
    };
    let (uid, gid): (u32, u32) = (fields[2].parse().ok()?, fields[3].parse().ok()?);
    let name = fields[0];
    let mut groups: Vec<u32> = vec![gid];
    groups.extend(group.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let member = fields.get(3)?.split(',').any(|member| member == name);
        member.then(|| fields[2].parse::<u32>().ok()).flatten()
    }));
    groups.dedup();
    Some(Account { uid, gid, groups, name: Some(name.into()), home: Some(fields[5].into()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nann:x:1000:100:Ann:/home/ann:/bin/sh\nbad:x\n";
    const GROUP: &str = "users:x:100:\ndocker:x:999:bob,ann\n";

    #[test]
    fn by_number_and_name() {
        for user in ["1000", "ann"] {
            let account = look_up(user, PASSWD, GROUP);
            let Some(account) = account else { panic!("{user}") };
            assert_eq!((account.uid, account.gid, account.groups), (1000, 100, vec![100, 999]));
            assert_eq!(account.home.as_deref(), Some("/home/ann"));
        }
    }

    #[test]
    fn a_name_in_another_encoding_hides_no_account() {
        let etc = tempfile::tempdir().expect("a directory");
        let passwd = [b"bob:x:7:7:B\xf6b:/home/bob:/bin/sh\n", PASSWD.as_bytes()].concat();
        std::fs::write(etc.path().join("passwd"), passwd).expect("a file");
        std::fs::write(etc.path().join("group"), [b"caf\xe9:x:5:\n", GROUP.as_bytes()].concat()).expect("a file");
        let ann = look_up_in(etc.path(), "ann").expect("an account");
        assert_eq!((ann.uid, ann.groups), (1000, vec![100, 999]));
        assert_eq!(look_up_in(etc.path(), "bob").map(|bob| bob.uid), Some(7));
    }

    #[test]
    fn without_account() {
        let account = look_up("4242", PASSWD, GROUP);
        assert_eq!(account.map(|a| (a.uid, a.gid, a.groups)), Some((4242, 4242, vec![4242])));
        assert_eq!(look_up("nobody-here", PASSWD, GROUP), None);
    }
}
