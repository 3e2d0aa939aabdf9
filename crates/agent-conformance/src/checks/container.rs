//! Sections 1.3 to 1.5 and 5: steps in containers, where the agent's machine has an engine.

use serde_json::{Value, json};

use super::checks;
use crate::agent::{Agent, with};
use crate::expect::{Expected, Finding, holds, same};

checks! {
    "1.3":
        suspend_removes_exited_containers_with_all_its_labels;
    "1.4":
        a_step_with_an_image_runs_in_a_container,
        a_container_has_the_environment_of_setup_and_step,
        the_images_words_stand_where_the_step_has_none,
        a_container_starts_as_the_user_and_in_the_directory_of_its_step,
        a_container_has_the_labels_and_limits_of_its_step,
        a_container_has_the_hosts_and_name_servers_of_its_step,
        a_container_may_be_privileged,
        a_port_of_a_container_is_one_of_the_machine,
        an_image_that_is_missing_is_not_pulled_against_the_policy;
    "1.5":
        a_container_that_runs_out_of_memory_is_told,
        outputs_of_a_container_are_handed_over;
    "5":
        a_stage_has_a_network_in_which_names_are_found,
        volumes_and_networks_are_made_and_removed,
        a_folder_and_a_device_of_the_machine_are_seen,
        a_volume_in_memory_has_its_size,
        files_are_exchanged_at_the_same_path,
        the_engines_socket_is_seen_unless_it_is_not_to_be,
        a_detached_container_is_answered_at_once_and_ends_with_its_stage;
}

/// The image of these checks. It is made of the machine's own busybox, so that no registry is needed.
pub(crate) const IMAGE: &str = "kiln-conformance:1";

/// Makes the image; prints why it cannot, or nothing.
const MAKE_IMAGE: &str = r#"
command -v docker >/dev/null || { echo "it has no docker command, by which the checks look into its engine"; exit; }
docker version >/dev/null 2>&1 || { echo "it has no container engine that answers"; exit; }
docker image inspect "$IMAGE" >/dev/null 2>&1 && exit
box=$(command -v busybox) || { echo "it has no busybox to make an image of"; exit; }
dir=$(mktemp -d) && mkdir -p "$dir/bin" "$dir/etc" "$dir/tmp" && cp "$box" "$dir/bin/busybox" && chmod 1777 "$dir/tmp"
for tool in $("$box" --list); do [ "$tool" = busybox ] || ln -s busybox "$dir/bin/$tool"; done
echo root:x:0:0:root:/:/bin/sh >"$dir/etc/passwd"
tar -C "$dir" -c . | docker import --change 'CMD ["echo", "of the image"]' - "$IMAGE" >/dev/null 2>&1
rm -rf "$dir"
docker run --rm "$IMAGE" true >/dev/null 2>&1 || echo "its engine runs no container of its busybox, which may not be a static one"
"#;

/// Sets a stage up for containers, where there is an engine.
async fn engine(agent: &Agent, setup: Value) -> Expected {
    agent.post("/destroy", &json!({})).await?.has_status(200)?;
    agent.set_up().await?;
    let why = agent.sh(&format!("IMAGE={IMAGE}\n{MAKE_IMAGE}")).await?;
    if !why.trim().is_empty() {
        return Err(Finding::NotApplicable(format!("nothing can be said of its machine: {}", why.trim())));
    }
    agent.post("/setup", &setup).await?.is_empty()
}

/// A step that runs a script in a container.
fn boxed(agent: &Agent, script: &str) -> Value {
    with(agent.script(script), json!({"image": IMAGE, "pull": "Never"}))
}

async fn prints(agent: &Agent, step: &Value) -> Expected<String> {
    let result = agent.run(step).await?;
    let output = agent.output(step["id"].as_str().unwrap_or_default()).await?;
    match result.get("exit_code") {
        None => Ok(output),
        Some(code) => {
            Err(Finding::Breach(format!("a step in a container ends with {code}: {result}; it prints {output:?}")))
        }
    }
}

/// What `docker inspect` says of the one container that has this label, while its step runs.
async fn inspected(agent: &Agent, label: &str, format: &str) -> Expected<String> {
    let look = format!(
        "n=0; until id=$(docker ps -q --filter label={label}) && [ -n \"$id\" ]; do n=$((n+1)); [ $n -lt 600 ] || exit 1; \
         sleep 0.05; done; docker inspect --format '{format}' $id"
    );
    Ok(agent.sh(&look).await?.trim().to_owned())
}

async fn part(agent: &Agent) -> Expected {
    agent.post("/destroy", &json!({})).await?.has_status(200)?;
    agent.set_up().await
}

async fn suspend_removes_exited_containers_with_all_its_labels(agent: &Agent) -> Expected {
    engine(agent, json!({})).await?;
    let (mark, other) = (agent.id(), agent.id());
    let run = |labels: &str| format!("docker run {labels} {IMAGE} true");
    let both = run(&format!("--label conformance={mark} --label a=1"));
    let (one, others) =
        (run(&format!("--label conformance={mark}")), run(&format!("--label conformance={other} --label a=1")));
    agent.sh(&format!("{both} && {one} && {others}")).await?;
    agent.post("/suspend", &json!({"labels": {"conformance": mark, "a": "1"}})).await?.is_empty()?;
    let of = |mark: &str| format!("docker ps -aq --filter label=conformance={mark}");
    let left = agent.sh(&format!("{} | wc -l; {} | wc -l", of(&mark), of(&other))).await?;
    agent.sh(&format!("docker rm -f $({}) $({}) >/dev/null", of(&mark), of(&other))).await?;
    same("the containers that are left of those with one label, and of others", left.as_str(), "1\n1\n")
}

async fn a_step_with_an_image_runs_in_a_container(agent: &Agent) -> Expected {
    engine(agent, json!({})).await?;
    let step = boxed(agent, "echo out; readlink /bin/sh; exec 1>&2; echo err; exit 3");
    let result = agent.run(&step).await?;
    same("the exit code", &result["exit_code"], &json!(3))?;
    let output = agent.output(step["id"].as_str().unwrap_or_default()).await?;
    // The engine reads both streams, each by itself.
    let mut lines: Vec<_> = output.lines().collect();
    lines.sort_unstable();
    same("the lines of its output", lines, ["busybox", "err", "out"])
}

async fn a_container_has_the_environment_of_setup_and_step(agent: &Agent) -> Expected {
    engine(agent, json!({"envs": {"OF_SETUP": "1", "BOTH": "1"}})).await?;
    let step = with(boxed(agent, "echo $OF_SETUP $BOTH"), json!({"environment": {"BOTH": "2"}}));
    same("what it sees", prints(agent, &step).await?.as_str(), "1 2\n")?;
    part(agent).await
}

async fn the_images_words_stand_where_the_step_has_none(agent: &Agent) -> Expected {
    engine(agent, json!({})).await?;
    for (run, expected) in [
        (json!({}), "of the image\n"),
        (json!({"commands": ["echo", "of the step"]}), "of the step\n"),
        (json!({"entrypoint": ["printf"], "commands": ["%s.", "a", "b"]}), "a.b."),
    ] {
        let step = with(boxed(agent, ""), json!({ "run": run }));
        same("what it prints", prints(agent, &step).await?.as_str(), expected)?;
    }
    Ok(())
}

async fn a_container_starts_as_the_user_and_in_the_directory_of_its_step(agent: &Agent) -> Expected {
    engine(agent, json!({})).await?;
    let step = with(boxed(agent, "id -u; pwd"), json!({"user": "1234", "working_dir": "/made/here"}));
    same("who and where it is", prints(agent, &step).await?.as_str(), "1234\n/made/here\n")
}

async fn a_container_has_the_labels_and_limits_of_its_step(agent: &Agent) -> Expected {
    engine(agent, json!({})).await?;
    let mark = agent.id();
    let fields = json!({
        "labels": {"conformance": mark}, "mem_limit": 67_108_864, "memswap_limit": 134_217_728, "cpu_period": 50_000,
        "cpu_quota": 25_000, "cpu_shares": 512, "cpu_set": ["0"], "shm_size": 8_388_608, "detach": true,
    });
    agent.run(&with(boxed(agent, "sleep 1000"), fields)).await?;
    let format = "{{with .HostConfig}}{{.Memory}} {{.MemorySwap}} {{.CpuPeriod}} {{.CpuQuota}} {{.CpuShares}} \
                  {{.CpusetCpus}} {{.ShmSize}}{{end}}";
    let limits = inspected(agent, &format!("conformance={mark}"), format).await?;
    part(agent).await?;
    same("its limits", limits.as_str(), "67108864 134217728 50000 25000 512 0 8388608")
}

async fn a_container_has_the_hosts_and_name_servers_of_its_step(agent: &Agent) -> Expected {
    engine(agent, json!({})).await?;
    let fields = json!({"dns": ["192.0.2.1"], "dns_search": ["ci.example"], "extra_hosts": ["db:192.0.2.7"]});
    let step = with(boxed(agent, "cat /etc/resolv.conf /etc/hosts"), fields);
    let output = prints(agent, &step).await?;
    for word in ["192.0.2.1", "ci.example", "192.0.2.7"] {
        holds(format!("{word} is not in {output:?}"), output.split_whitespace().any(|found| found == word))?;
    }
    Ok(())
}

async fn a_container_may_be_privileged(agent: &Agent) -> Expected {
    engine(agent, json!({})).await?;
    let script = "mount -t tmpfs none /tmp 2>/dev/null && echo mounted || echo refused";
    for (privileged, expected) in [(false, "refused\n"), (true, "mounted\n")] {
        let step = with(boxed(agent, script), json!({ "privileged": privileged }));
        same(&format!("a mount, privileged {privileged},"), prints(agent, &step).await?.as_str(), expected)?;
    }
    Ok(())
}

async fn a_port_of_a_container_is_one_of_the_machine(agent: &Agent) -> Expected {
    engine(agent, json!({})).await?;
    let mark = agent.id();
    let fields = json!({"port_bindings": {"48080": "80"}, "detach": true, "labels": {"conformance": mark}});
    agent.run(&with(boxed(agent, "exec httpd -f -h /etc"), fields)).await?;
    let format = "{{range $port, $to := .NetworkSettings.Ports}}{{$port}} {{(index $to 0).HostPort}}{{end}}";
    let bound = inspected(agent, &format!("conformance={mark}"), format).await?;
    part(agent).await?;
    same("the port and where it is", bound.as_str(), "80/tcp 48080")
}

async fn an_image_that_is_missing_is_not_pulled_against_the_policy(agent: &Agent) -> Expected {
    engine(agent, json!({})).await?;
    let step = with(boxed(agent, "true"), json!({"image": "there.invalid/is/none:1"}));
    same("the exit code", &agent.run(&step).await?["exit_code"], &json!(255))
}

async fn a_container_that_runs_out_of_memory_is_told(agent: &Agent) -> Expected {
    engine(agent, json!({})).await?;
    let limits = json!({"mem_limit": 16_777_216, "memswap_limit": 16_777_216});
    let result = agent.run(&with(boxed(agent, "tail /dev/zero"), limits)).await?;
    same("oom_killed", &result["oom_killed"], &json!(true))?;
    let error = result["error"].as_str().unwrap_or_default();
    holds(format!("its error is {error:?}"), error.contains("oom killed"))
}

async fn outputs_of_a_container_are_handed_over(agent: &Agent) -> Expected {
    engine(agent, json!({})).await?;
    let script = "V=value; echo E=exported >> $DRONE_ENV; printf text > $PLUGIN_ARTIFACT_FILE";
    let step = with(boxed(agent, script), json!({"log_drone": false, "log_key": "k", "output_vars": ["V"]}));
    let result = agent.run(&step).await?;
    same("its output", &result["outputs"]["V"], &json!("value"))?;
    same("what it exports", &result["envs"]["E"], &json!("exported"))?;
    same("its artifact", &result["artifact"], &json!("dGV4dA=="))
}

async fn a_stage_has_a_network_in_which_names_are_found(agent: &Agent) -> Expected {
    engine(agent, json!({"network": {"id": agent.id()}})).await?;
    let service = boxed(agent, "echo found >/tmp/index.html; exec httpd -f -h /tmp");
    agent.run(&with(service, json!({"name": "web", "network_aliases": ["cache"], "detach": true}))).await?;
    for name in ["web", "cache"] {
        let ask = format!(
            "n=0; until wget -q -O - http://{name}/ 2>/dev/null; do n=$((n+1)); [ $n -lt 300 ] || exit 1; sleep 0.1; done"
        );
        same(&format!("what {name} says"), prints(agent, &boxed(agent, &ask)).await?.as_str(), "found\n")?;
    }
    part(agent).await
}

async fn volumes_and_networks_are_made_and_removed(agent: &Agent) -> Expected {
    let (network, volume) = (agent.id(), agent.id());
    let volumes = json!([{"temp": {"id": volume, "name": "v", "labels": {"made": "here"}}}]);
    engine(agent, json!({"network": {"id": network, "labels": {"made": "here"}}, "volumes": volumes})).await?;
    let label = format!(
        "docker network inspect --format '{{{{.Labels.made}}}}' {network}; docker volume inspect --format '{{{{.Labels.made}}}}' {volume}"
    );
    same("their labels", agent.sh(&label).await?.as_str(), "here\nhere\n")?;
    let mounts = json!({"volumes": [{"name": "v", "path": "/v"}]});
    prints(agent, &with(boxed(agent, "echo kept > /v/file"), mounts.clone())).await?;
    same(
        "what a later step finds",
        prints(agent, &with(boxed(agent, "cat /v/file"), mounts)).await?.as_str(),
        "kept\n",
    )?;
    part(agent).await?;
    let look = format!("docker network ls -q --filter name={network}; docker volume ls -q --filter name={volume}");
    same("what is left", agent.sh(&look).await?.as_str(), "")
}

async fn a_folder_and_a_device_of_the_machine_are_seen(agent: &Agent) -> Expected {
    let folder = agent.path("folder");
    let host = |name: &str, path: &str| json!({"host": {"id": name, "name": name, "path": path}});
    engine(agent, json!({"volumes": [host("f", &folder), host("d", "/dev/zero")]})).await?;
    let fields = json!({"volumes": [{"name": "f", "path": "/f"}], "devices": [{"name": "d", "path": "/dev/nothing"}]});
    let step = with(boxed(agent, "echo written > /f/file; head -c 5 /dev/nothing | wc -c"), fields);
    same("what the device gives", prints(agent, &step).await?.trim(), "5")?;
    same("what is in the folder", agent.sh(&format!("cat {folder}/file")).await?.as_str(), "written\n")?;
    part(agent).await
}

async fn a_volume_in_memory_has_its_size(agent: &Agent) -> Expected {
    let volume = json!({"id": agent.id(), "name": "m", "medium": "memory", "size_limit": 4_194_304});
    engine(agent, json!({"volumes": [{ "temp": volume }]})).await?;
    let mounts = json!({"volumes": [{"name": "m", "path": "/m"}]});
    let step = with(boxed(agent, "df -k /m | tail -1 | awk '{print $1, $2}'"), mounts);
    same("what it is", prints(agent, &step).await?.as_str(), "tmpfs 4096\n")?;
    part(agent).await
}

async fn files_are_exchanged_at_the_same_path(agent: &Agent) -> Expected {
    engine(agent, json!({})).await?;
    let dir = agent.sh("dirname $DRONE_OUTPUT").await?;
    let file = format!("{}/{}", dir.trim(), agent.id());
    prints(agent, &boxed(agent, &format!("echo from the container > {file}"))).await?;
    let found = agent.sh(&format!("cat {file}; rm {file}")).await?;
    same("what a step on the host finds", found.as_str(), "from the container\n")
}

async fn the_engines_socket_is_seen_unless_it_is_not_to_be(agent: &Agent) -> Expected {
    let look = "test -S /var/run/docker.sock && echo yes || echo no";
    for (mount, expected) in [(json!(null), "yes\n"), (json!(true), "yes\n"), (json!(false), "no\n")] {
        engine(agent, json!({"envs": {"ROUND": mount.to_string()}, "mount_docker_socket": mount})).await?;
        let seen = prints(agent, &with(boxed(agent, look), json!({ "mount_docker_socket": mount }))).await?;
        same(&format!("whether it is seen with {mount}"), seen.as_str(), expected)?;
    }
    part(agent).await
}

async fn a_detached_container_is_answered_at_once_and_ends_with_its_stage(agent: &Agent) -> Expected {
    engine(agent, json!({})).await?;
    let mark = agent.id();
    let fields = json!({"detach": true, "labels": {"conformance": mark}});
    let result = agent.run(&with(boxed(agent, "sleep 1000"), fields)).await?;
    same("the answer", result.get("exited"), None::<&Value>)?;
    inspected(agent, &format!("conformance={mark}"), "{{.Id}}").await?;
    part(agent).await?;
    same("what is left", agent.sh(&format!("docker ps -aq --filter label=conformance={mark}")).await?.as_str(), "")
}
