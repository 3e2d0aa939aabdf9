//! The driver: instances by id, each started at most once.
//!
//! ```text
//! launch ─► Starting ─► Running ─► (destroy) Ended      a failed start leaves nothing, so its id may be tried again
//!                └─► Failed ─► (destroy, or launch) ─┘   an id that has run is never run again
//! ```
//! What a former process of a named owner left running begins as Running.

mod start;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use kiln_agent_client::Credentials;
use kiln_driver::{Abilities, Driver, DriverError, Labels, LaunchRequest, Launched, Listed};
use kiln_pool::{End, EndKind, Life, Network, SiteId};
use kiln_tls::Authority;
use tokio::sync::OnceCell;

use crate::clone::adopt;
use crate::clone::book::{self, Book, Phase, Slot};
use crate::clone::disk_watch::DiskWatch;
use crate::clone::instance::Instance;
use crate::clone::owner::{Owner, Ownership, valid_name};
use crate::clone::record;
use crate::containers::Wish;
use crate::error::QemuError;
use crate::golden::recipe::Recipe;
use crate::golden::saved::Golden;
use crate::host::aside;
use crate::host::lock;
use crate::host::room::Host;
use crate::images::{Image, Images};
use crate::paths::Layout;
use crate::progress::{Listener, Progress};
use crate::settings::Settings;
use crate::vm::accel::Accel;
use crate::vm::acceleration::Acceleration;
use crate::vm::binary::Binary;
use crate::vm::kvm;
use crate::vm::machine::{Life as Lifetime, Shape};

/// What pool files call this driver.
pub const NAME: &str = "qemu";

/// The agent that VMs get.
#[derive(Debug, Clone)]
pub enum AgentBinary {
    /// A static binary on this machine.
    File(PathBuf),
    /// Its bytes.
    Bytes(Arc<[u8]>),
}

/// Local VMs.
#[derive(Clone)]
pub struct QemuDriver {
    inner: Arc<Inner>,
}

struct Inner {
    layout: Layout,
    settings: Settings,
    listener: Listener,
    authority: Arc<Authority>,
    credentials: Credentials,
    agent: AgentBinary,
    owner: Owner,
    binary: OnceCell<Binary>,
    accel: Acceleration,
    goldens: tokio::sync::Mutex<HashMap<(String, Shape, Wish), Arc<Golden>>>,
    /// Held while container images are put into an image, so that many launches at once do it once.
    preloading: tokio::sync::Mutex<()>,
    /// Keys of the golden VMs of which adopted clones run.
    proven: HashSet<String>,
    /// Ends with this value, before the book does.
    _disk_watch: DiskWatch,
    book: Arc<Mutex<Book>>,
}

impl QemuDriver {
    /// Opens the driver: removes what killed owners left, and makes this process an owner. With a name, takes over the VMs
    /// of that name that run, and ends those that a killed process had half started. Starts no VM.
    ///
    /// Dropping the driver ends the VMs of [`Ownership::Process`], and leaves those of [`Ownership::Named`] alone.
    ///
    /// # Errors
    /// When the state directory cannot be written, or another process has the name.
    pub fn open(
        layout: Layout,
        ownership: &Ownership,
        settings: Settings,
        agent: AgentBinary,
        authority: Arc<Authority>,
        credentials: Credentials,
        listener: Listener,
    ) -> Result<Self, QemuError> {
        let owner = Owner::start(&layout, ownership)?;
        let (mut book, mut proven) = (Book::default(), HashSet::new());
        if owner.life() == Lifetime::Lasting {
            for survivor in adopt::survivors(owner.dir())? {
                proven.insert(survivor.record.golden.clone());
                book.adopt(survivor);
            }
        }
        let book = Arc::new(Mutex::new(book));
        let (vms, watermark) = (layout.vms(), u64::from(settings.disk_watermark_mib) << 20);
        let watch = DiskWatch::start(vms.clone(), watermark, Arc::downgrade(&book));
        let accel = Acceleration::of(settings.accel);
        let inner = Inner {
            layout,
            settings,
            listener,
            authority,
            credentials,
            agent,
            owner,
            binary: OnceCell::new(),
            accel,
            goldens: tokio::sync::Mutex::default(),
            preloading: tokio::sync::Mutex::default(),
            proven,
            _disk_watch: watch.map_err(QemuError::io("watch the disk of", vms))?,
            book,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The site of this owner's VMs, `qemu:ID`.
    #[must_use]
    pub fn site(&self) -> SiteId {
        SiteId::new(format!("{NAME}:{}", self.inner.owner.site()))
    }

    /// The images of this machine.
    #[must_use]
    pub fn images(&self) -> Images {
        self.inner.images()
    }

    /// Sees to it that clones of this image and shape can be started at once: boots and saves its golden VM if there is none.
    /// [`Driver::launch`] does so too; this is for telling the two apart.
    ///
    /// # Errors
    /// When there is no such image, or it does not come up.
    pub async fn ensure_golden(&self, image: &str, shape: Shape) -> Result<(), QemuError> {
        self.inner.golden(image, shape, &Wish::default(), &Network::default()).await.map(drop)
    }

    /// What runs the VMs' processors; none before the first VM.
    pub async fn accel(&self) -> Option<Accel> {
        self.inner.accel.decided().await
    }

    #[cfg(test)]
    pub(crate) fn running(&self, id: &str) -> Option<Arc<Instance>> {
        self.inner.running(id)
    }

    /// Ends every VM of this owner and removes all that belongs to them.
    ///
    /// # Errors
    /// When one does not end, or its files cannot be removed; the others are ended all the same.
    pub async fn destroy_all(&self) -> Result<(), QemuError> {
        let mut ids = self.inner.owner.instances();
        ids.extend(self.inner.book().slots.keys().cloned());
        ids.sort();
        ids.dedup();
        let ends = join_all(ids.iter().map(|id| self.inner.destroy(id))).await;
        ends.into_iter().collect()
    }
}

impl Inner {
    fn images(&self) -> Images {
        Images::new(self.layout.clone(), self.settings.clone(), Arc::clone(&self.listener))
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn golden(
        &self,
        image: &str,
        shape: Shape,
        wish: &Wish,
        network: &Network,
    ) -> Result<Arc<Golden>, QemuError> {
        let image = self.image(image, wish).await?;
        // Held while it is built, so that eight launches at once build it once.
        let mut goldens = self.goldens.lock().await;
        let key = (image.identity(), shape, wish.clone());
        if let Some(golden) = goldens.get(&key) {
            return Ok(Arc::clone(golden));
        }
        let golden = Arc::new(self.make_golden(&image, shape, wish, network).await?);
        if self.proven.contains(golden.key()) {
            golden.prove();
        }
        goldens.insert(key, Arc::clone(&golden));
        Ok(golden)
    }

    /// Returns the image with the container images that a pool wants in it. Launches of pools that want none wait for nobody.
    async fn image(&self, name: &str, wish: &Wish) -> Result<Image, QemuError> {
        let images = self.images();
        if wish.preload.is_empty() {
            return images.get(name);
        }
        let _preloading = self.preloading.lock().await;
        images.with_containers(images.get(name)?, wish).await
    }

    async fn forget(&self, broken: &Arc<Golden>) {
        self.goldens.lock().await.retain(|_, golden| !Arc::ptr_eq(golden, broken));
    }

    async fn look(&self) -> Result<Binary, QemuError> {
        let binary = Binary::look(&self.settings.qemu).await?;
        if !binary.sandbox {
            (self.listener)(Progress::Note("this QEMU was built without its sandbox of system calls".to_owned()));
        }
        Ok(binary)
    }

    async fn make_golden(
        &self,
        image: &Image,
        shape: Shape,
        wish: &Wish,
        network: &Network,
    ) -> Result<Golden, QemuError> {
        let binary = self.binary.get_or_try_init(|| self.look()).await?;
        let kernel = image.kernel.then(|| image.kernel_file());
        let decide = kvm::decide(
            self.settings.accel,
            &self.layout,
            &self.settings.qemu,
            binary,
            kernel.as_deref(),
            &self.listener,
        );
        let accel = self.accel.get_or_decide(decide).await?;
        let agent: Arc<[u8]> = match &self.agent {
            AgentBinary::Bytes(bytes) => Arc::clone(bytes),
            AgentBinary::File(path) => std::fs::read(path).map_err(QemuError::io("read the agent", path))?.into(),
        };
        let recipe = Recipe {
            layout: &self.layout,
            settings: &self.settings,
            listener: &self.listener,
            authority: &self.authority,
            credentials: &self.credentials,
            agent: &agent,
            accel,
            binary,
            image,
            shape,
            wish,
            // The steps of one launch are not those of another: what one opens is not open here.
            network: wish.opened(Network { isolated: network.isolated, ..Network::default() }),
        };
        match recipe.ensure().await {
            Err(error) if self.accel.may_leave(accel, &error) => {
                // If it does not come up without KVM either, that error is the one to tell, and KVM stays.
                let golden = Recipe { accel: Accel::Tcg, ..recipe }.ensure().await?;
                self.accel.leave(&self.layout, &binary.version, &error, &self.listener).await?;
                Ok(golden)
            }
            outcome => outcome,
        }
    }

    /// Returns the slot of an id, and whether the caller must start it.
    ///
    /// # Errors
    /// When the id has ended, or the host has no room for one more VM.
    fn reserve(&self, request: &LaunchRequest) -> Result<(Slot, bool), QemuError> {
        let mut book = self.book();
        if book.has_ended(&request.token) {
            return Err(QemuError::Invalid(format!(
                "instance {} has ended; an instance never runs twice",
                request.token
            )));
        }
        if let Some(slot) = book.slots.get(&request.token)
            && !matches!(*slot.phase.borrow(), Phase::Failed(_))
        {
            return Ok((slot.clone(), false));
        }
        let (policy, vms) = (self.settings.room(), self.layout.vms());
        let mut promised = book.promised(&policy);
        record::add_promised_to_others(&mut promised, &policy, &vms, self.owner.dir());
        policy.admit(request.memory_mib, &Host::now(&vms)?, &promised).map_err(QemuError::from)?;
        let slot = Slot::starting(request);
        book.slots.insert(request.token.clone(), slot.clone());
        Ok((slot, true))
    }

    fn running(&self, id: &str) -> Option<Arc<Instance>> {
        let book = self.book();
        match &*book.slots.get(id)?.phase.borrow() {
            Phase::Running(instance) => Some(Arc::clone(instance)),
            _ => None,
        }
    }

    async fn destroy(&self, id: &str) -> Result<(), QemuError> {
        let slot = self.book().slots.get(id).cloned();
        let Some(slot) = slot else {
            return if valid_name(id) { self.destroy_unknown(id).await } else { Ok(()) };
        };
        slot.given_up.send_replace(true);
        let phase = slot.settled().await;
        if let Phase::Running(instance) = &phase {
            instance.destroy().await?;
            slot.phase.send_replace(Phase::Ended);
        }
        let mut book = self.book();
        if matches!(phase, Phase::Running(_)) {
            book.remember_ended(id);
        }
        // A second launch may have taken the place of a failed one meanwhile.
        if book.slots.get(id).is_some_and(|now| now.phase.same_channel(&slot.phase)) {
            book.slots.remove(id);
        }
        Ok(())
    }

    /// Ends and removes what has no slot: nothing, unless an earlier end or removal failed half-way.
    async fn destroy_unknown(&self, id: &str) -> Result<(), QemuError> {
        if self.owner.life() == Lifetime::Tied {
            let dir = self.owner.instance_dir(id);
            return aside(move || lock::remove_tree(&dir)).await;
        }
        let (owner, id) = (self.owner.dir().to_owned(), id.to_owned());
        aside(move || adopt::end(&owner, &id)).await
    }
}

impl Driver for QemuDriver {
    fn launch<'a>(&'a self, request: &'a LaunchRequest) -> BoxFuture<'a, Result<Vec<Launched>, DriverError>> {
        async move {
            book::check(request)?;
            let (slot, first) = self.inner.reserve(request)?;
            if first {
                // On a task of its own: a caller that gives up waiting leaves nothing half-started.
                let (inner, request, slot) = (Arc::clone(&self.inner), request.clone(), slot.clone());
                tokio::spawn(async move {
                    let phase = inner.start(&request, &slot).await;
                    slot.phase.send_replace(phase);
                });
            }
            match slot.settled().await {
                Phase::Running(instance) => Ok(vec![instance.launched.clone()]),
                Phase::Failed(error) => Err(told(&error)),
                Phase::Starting | Phase::Ended => Err(QemuError::Cancelled(request.token.clone()).into()),
            }
        }
        .boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Listed>, DriverError>> {
        let book = self.inner.book();
        let mut listed: Vec<Listed> = book.slots.iter().filter_map(|(id, slot)| slot.listed(id)).collect();
        for id in self.inner.owner.instances() {
            if !book.slots.contains_key(&id) {
                let lives = adopt::lives(&self.inner.owner.instance_dir(&id));
                let life = if lives { Life::Running } else { Life::LeftOver };
                listed.push(Listed { id, life, labels: Labels::new(), launched: None });
            }
        }
        drop(book);
        listed.sort_by(|a, b| a.id.cmp(&b.id));
        async move { Ok(listed) }.boxed()
    }

    fn destroy<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), DriverError>> {
        async move { self.inner.destroy(id).await.map_err(DriverError::from) }.boxed()
    }

    fn ended<'a>(&'a self, id: &'a str) -> BoxFuture<'a, End> {
        async move {
            match self.inner.running(id) {
                Some(instance) => instance.ended().await,
                None => End::new(EndKind::Unknown, format!("instance {id} does not run")),
            }
        }
        .boxed()
    }

    fn console_tail<'a>(&'a self, id: &'a str) -> BoxFuture<'a, String> {
        let tail = self.inner.running(id).map(|instance| instance.vm.console_tail());
        async move { tail.unwrap_or_default() }.boxed()
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            outlives_owner: self.inner.owner.life() == Lifetime::Lasting,
            launches_at_once: Some(launches_at_once()),
            ..Abilities::default()
        }
    }
}

/// A start takes one processor nearly whole: more at once than there are processors make each other slow.
fn launches_at_once() -> u32 {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    u32::try_from(processors).unwrap_or(1).max(2)
}

/// Makes the same error for every caller that waited for one start.
fn told(error: &QemuError) -> DriverError {
    DriverError {
        class: error.class(),
        message: error.to_string(),
        source: std::error::Error::source(error).map(|cause| cause.to_string().into()),
    }
}
