//! The keys of steps that build container images.

use kiln_document::schema::{Key, Role, Shape, Table};

use Shape::{Any, Bool, Map, OneOrMore, Text};

const LAYERS: &str = "layers are kept where `cacheTo` or `remoteCacheRepo` says";
const BUILDER: &str = "Kiln builds with BuildKit on the machine of the stage";

/// `spec` of such a step.
pub static BUILD: Table = Table::closed(
    "build step's `spec`",
    &[
        Key::read("connectorRef", Text, "The connector that knows the registry's credentials."),
        Key::read("repo", Text, "The image, with its registry where that is not Docker Hub."),
        Key::read("repository", Text, "The image with its registry (Azure)."),
        Key::read("account", Text, "The account of the registry (Amazon)."),
        Key::read("region", Text, "The region of the registry (Amazon)."),
        Key::read("host", Text, "The registry (Google)."),
        Key::read("projectID", Text, "The project of the registry (Google)."),
        Key::read("imageName", Text, "The image in its registry."),
        Key::read("tags", OneOrMore(&Text), "The image's tags."),
        Key::read("dockerfile", Text, "The Dockerfile."),
        Key::read("context", Text, "Directory that is sent to the build."),
        Key::read("labels", Map(&Text), "Labels of the image."),
        Key::read("buildArgs", Map(&Text), "Values of the Dockerfile's `ARG`s."),
        Key::read("target", Text, "Stage of the Dockerfile that is built."),
        Key::read("envVariables", Map(&Text), "Environment of the build."),
        Key::read("cacheFrom", OneOrMore(&Text), "Images or caches whose layers are used."),
        Key::read("cacheTo", OneOrMore(&Text), "Where layers are kept."),
        Key::read("remoteCacheRepo", Text, "Repository that layers are kept in."),
        Key::read("remoteCacheImage", Text, "Image that layers are kept in."),
        Key::read("runAsUser", Text, "Numeric user."),
        Key::no_effect("caching", Bool, LAYERS),
        Key::no_effect("optimize", Bool, BUILDER),
        Key::no_effect("baseImageConnectorRefs", Any, "base images are pulled with the credentials that are given"),
        Key::no_effect("subscriptionId", Text, "the registry's address says enough"),
        Key::unsupported("registryRef", "an image in a Harness registry is named by its address in `repo`"),
        Key::new("imagePullPolicy", Any, Role::Describes, ""),
        Key::no_effect("privileged", Bool, BUILDER),
        Key::no_effect("resources", Any, BUILDER),
        Key::describes("description"),
    ],
);
