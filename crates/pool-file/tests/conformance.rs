//! Tests the checks of sections on a good section and on bad ones.

mod sections;

use kiln_pool::config::Launch;
use kiln_pool_file::amazon::Amazon;
use kiln_pool_file::conformance::{breaches, disagreements};

use sections::Shed;

const DOCUMENTED: &str = "`image`, `cpus`, `memory` and `disk.size`";

fn takes(launch: &Launch) -> bool {
    (1..=8).contains(&launch.cpus) && (256..=65536).contains(&launch.memory_mib) && (1..=500).contains(&launch.disk_gib)
}

#[test]
fn a_section_that_its_driver_agrees_with_passes() {
    assert_eq!(breaches(&Shed, DOCUMENTED), [""; 0]);
    assert_eq!(disagreements(&Shed, &takes), [""; 0]);
}

#[test]
fn the_section_of_ec2_passes() {
    assert_eq!(breaches(&Amazon, include_str!("../../../docs/pool-file.md")), [""; 0]);
}

#[test]
fn what_the_driver_does_not_take_is_found() {
    let few = |launch: &Launch| takes(launch) && launch.cpus <= 4;
    assert_eq!(disagreements(&Shed, &few), ["`cpus: 8`: the pool file takes it, the driver refuses it"]);
    let many = |launch: &Launch| takes(&Launch { cpus: 1, ..launch.clone() });
    assert_eq!(disagreements(&Shed, &many), ["`cpus: 9`: the pool file refuses it, the driver takes it"]);
    let large = |launch: &Launch| takes(launch) && launch.memory_mib > 512;
    assert_eq!(disagreements(&Shed, &large)[0], "the driver refuses the example");
    assert_eq!(breaches(&Shed, "`image` and `cpus`, `disk.size`"), ["`memory` of shed spec is not documented"]);
}
