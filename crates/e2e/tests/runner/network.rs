//! What the VMs of a pool reach.

use kiln_e2e::{Door, knock};

use crate::world::World;

#[test]
fn what_a_pool_opens_is_open_to_its_vms_and_nothing_else() {
    let world = World::new();
    let doors = [Door::open().expect("a port"), Door::open().expect("a port")];
    let pool = |network: &str| {
        world.pool_file(&format!(
            "instances:\n- name: local\n  type: qemu\n  pool: 0\n  limit: 1\n  platform: {{os: linux, arch: amd64}}\n  \
             spec: {{image: debian}}\n  kiln: {{network: {network}}}\n"
        ))
    };
    let (closed, named) = ("{}".to_owned(), format!("{{allow_hosts: ['{}']}}", doors[1].address));
    for (stage, network, said, came) in
        [("closed", closed, "closed\nclosed\n", [0, 0]), ("named", named, "closed\nopen\n", [0, 1])]
    {
        pool(&network);
        let mut runner = world.start(&[]);
        let instance = runner.set_up(stage);
        let knocked = runner.step(stage, "knock", &knock(&[&doors[0], &doors[1]]));
        assert_eq!(knocked, (0, said.to_owned()), "{network}");
        runner.wait("those who knocked", |_| (doors.each_ref().map(Door::came) == came).then_some(()));
        runner.destroy(stage);
        runner.until_it_is(&instance, "gone");
        runner.terminate();
    }
}
