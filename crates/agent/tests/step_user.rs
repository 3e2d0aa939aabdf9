//! Steps that run as another user than the agent, by its setting.

mod rig;

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use kiln_wire::agent::Cause;
use rig::{Rig, step};
use serde_json::json;

/// No account has it.
const USER: u32 = 64_321;

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

/// An agent whose folder anybody may enter.
async fn with_user(user: &str) -> Rig {
    Rig::with(|settings| {
        user.clone_into(&mut settings.step_user);
        let dir = settings.engine_dir.parent().expect("a parent");
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).expect("permissions");
    })
    .await
}

fn owner(path: impl AsRef<Path>) -> (u32, u32) {
    let meta = path.as_ref().symlink_metadata().unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()));
    (meta.uid(), meta.gid())
}

/// A tar stream with a file in a folder that has no entry of its own, a closed folder, a program and a link.
fn archive() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |path: &str, kind: tar::EntryType, mode: u32, content: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, path, content.as_bytes()).expect("an entry");
    };
    add("deep/er/file", tar::EntryType::Regular, 0o640, "content");
    add("run", tar::EntryType::Regular, 0o755, "#!/bin/sh\necho ran\n");
    add("closed", tar::EntryType::Directory, 0o500, "");
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    tar.append_link(&mut header, "link", "run").expect("a link");
    tar.into_inner().expect("an archive")
}

#[tokio::test]
async fn steps_run_as_the_user_of_the_setting_with_a_home_of_their_own() {
    if !is_root() {
        return;
    }
    let rig = with_user(&USER.to_string()).await;
    rig.client.ok("/kiln/v1/self-test", &json!({})).await;
    rig.client.ok("/setup", &json!({})).await;
    let mut request = step("s1", "touch $HOME/kept; V=$(id -u):$(id -g):$(id -G):$HOME; echo out > $DRONE_OUTPUT");
    request.output_vars = vec!["V".into()];
    let end = rig.client.run(&request).await;
    assert_eq!((end.exit_code, end.error.as_str()), (0, ""));
    assert_eq!(end.outputs["V"], format!("{USER}:{USER}:{USER}:{}", rig.path("engine/home")));
    assert_eq!(owner(rig.path("engine/home/kept")), (USER, USER));
    // One that says whom it runs as is taken at its word.
    let mut request = step("s2", "V=$(id -u)");
    (request.user, request.output_vars) = ("0".into(), vec!["V".into()]);
    assert_eq!(rig.client.run(&request).await.outputs["V"], "0");
}

#[tokio::test]
async fn what_setup_and_steps_ask_for_and_the_workspace_belong_to_the_user() {
    if !is_root() {
        return;
    }
    let rig = with_user(&USER.to_string()).await;
    std::fs::write(rig.path("present"), "of somebody").expect("a file");
    let setup = json!({
        "envs": {"DRONE_PERSIST_CREDS": "true", "DRONE_NETRC_MACHINE": "git.example", "DRONE_NETRC_USERNAME": "ann"},
        "files": [{"path": rig.path("made/by/setup"), "data": "1", "mode": 0o600}, {"path": rig.path("present"), "data": "2"}],
        "volumes": [{"host": {"name": "v", "path": rig.path("volume")}}],
    });
    rig.client.ok("/setup", &setup).await;
    assert_eq!([owner(rig.path("made")), owner(rig.path("made/by/setup"))], [(USER, USER); 2]);
    assert_eq!(owner(rig.path("present")), (0, 0), "it was there before");
    assert_eq!(owner(rig.path("engine/home/.netrc")), (USER, USER));
    let url = format!("{}/kiln/v1/workspace?path={}", rig.client.base, rig.path("new/tree"));
    let sent = rig.client.http.put(url).body(archive()).send().await.expect("an answer");
    assert!(sent.status().is_success(), "{}", sent.text().await.expect("a body"));
    for path in ["", "deep", "deep/er", "deep/er/file", "run", "closed", "link"] {
        assert_eq!(owner(Path::new(&rig.path("new/tree")).join(path)), (USER, USER), "{path}");
    }
    let script = "cat made/by/setup engine/step.txt; echo x > volume/x; new/tree/run; cat new/tree/deep/er/file";
    let mut request = step("s1", script);
    request.working_dir = rig.dir.path().display().to_string();
    let file = json!({"path": rig.path("engine/step.txt"), "data": "3", "mode": 0o600});
    request.files = vec![serde_json::from_value(file).expect("a file")];
    let end = rig.client.run(&request).await;
    assert_eq!((end.exit_code, rig.client.output("s1", 0).await.as_str()), (0, "13ran\ncontent"));
}

#[tokio::test]
async fn a_workspace_goes_only_where_the_user_may_write() {
    if !is_root() {
        return;
    }
    let rig = with_user(&USER.to_string()).await;
    rig.client.ok("/setup", &json!({})).await;
    std::fs::create_dir(rig.path("closed")).expect("a directory");
    let url = format!("{}/kiln/v1/workspace?path={}", rig.client.base, rig.path("closed"));
    let sent = rig.client.http.put(url).body(archive()).send().await.expect("an answer");
    assert_eq!(sent.status().as_u16(), 500);
    assert_eq!(std::fs::read_dir(rig.path("closed")).expect("a directory").count(), 0);
    // The thread that unpacked is the agent's own again.
    for n in 0..40 {
        rig.client
            .ok("/setup", &json!({"envs": {"N": n.to_string()}, "files": [{"path": rig.path(&format!("closed/{n}"))}]}))
            .await;
    }
}

#[tokio::test]
async fn steps_of_another_user_cannot_touch_the_agent() {
    if !is_root() {
        return;
    }
    let rig = with_user(&USER.to_string()).await;
    rig.client.ok("/setup", &json!({})).await;
    let state = rig.path("state");
    let script = format!(
        "rm -f {state}/journal; echo x >> {state}/journal; mv {state} {state}.away; rm -rf {state}/spool; cat {state}/journal; \
         kill -9 {}; true",
        std::process::id()
    );
    let end = rig.client.run(&step("s1", &script)).await;
    assert_eq!((end.exit_code, end.cause), (0, Cause::Exited), "{}", end.error);
    let output = rig.client.output("s1", 0).await;
    assert_eq!(output.matches("ermission denied").count(), 5, "{output}");
}

#[tokio::test]
async fn a_user_that_is_not_there_is_told_before_a_stage_comes() {
    let rig = with_user("nobody-of-this-name").await;
    for path in ["/kiln/v1/self-test", "/setup"] {
        let (status, message) = rig.client.refused(path, &json!({})).await;
        assert!(status == 500 && message.contains("nobody-of-this-name"), "{path}: {message}");
    }
}
