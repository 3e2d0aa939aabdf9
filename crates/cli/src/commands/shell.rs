//! `kiln shell`: a look into a kept instance.

use crate::args::ShellArgs;
use crate::exit::Exit;
use crate::kept;

/// Opens a shell in the instance.
pub async fn shell(args: ShellArgs) -> anyhow::Result<Exit> {
    let kept = kept::find(args.instance.as_deref())?;
    anyhow::bail!("instance {} at {}", kept.instance, kept.agent)
}
