//! Accounts from `/etc/passwd` and `/etc/group`. Read by hand: the C library's lookup needs plugins that a static
//! binary cannot load.

use super::ExecError;

/// Who a step runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    pub name: Option<String>,
    pub home: Option<String>,
}

/// The account for a step's `user`; none when it is empty.
pub(super) fn find(user: &str) -> Result<Option<Account>, ExecError> {
    if user.is_empty() {
        return Ok(None);
    }
    // A missing file is an empty one: numeric users still work.
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let group = std::fs::read_to_string("/etc/group").unwrap_or_default();
    look_up(user, &passwd, &group).map(Some).ok_or_else(|| ExecError::NoUser { user: user.into() })
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
    fn without_account() {
        let account = look_up("4242", PASSWD, GROUP);
        assert_eq!(account.map(|a| (a.uid, a.gid, a.groups)), Some((4242, 4242, vec![4242])));
        assert_eq!(look_up("nobody-here", PASSWD, GROUP), None);
    }
}
