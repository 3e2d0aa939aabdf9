//! The keys of steps that keep files: caches and uploads. Those of S3 are the vendor's published schema; the tables of the other
//! stores are open, because only files in the wild show their keys.

use kiln_document::schema::{Key, Role, Shape, Table};

use super::words;

use Shape::{Any, Bool, Enum, OneOrMore, Text};

const AGENT: &str = "Kiln moves the files itself, without a container";

const KEY: Key = Key::read("key", Text, "Name by which the files are found again.");
const BUCKET: Key = Key::read("bucket", Text, "The bucket.");
const CONNECTOR: Key = Key::read("connectorRef", Text, "The connector that knows the credentials.");
const REGION: Key = Key::read("region", Text, "The bucket's region.");
const ENDPOINT: Key = Key::read("endpoint", Text, "Address of a store that speaks S3's protocol.");
const PATH_STYLE: Key = Key::read("pathStyle", Bool, "Whether the bucket's name is in the path of its address.");
const ACCOUNT: Key = Key::read("storageAccount", Text, "Azure's storage account.");
const CONTAINER: Key = Key::read("container", Text, "Azure's name for a bucket.");
const FORMAT: Key = Key::read("archiveFormat", Enum(words::ARCHIVE_FORMATS), "Form of the archive.");
const SOURCE_PATHS: Key = Key::read("sourcePaths", OneOrMore(&Text), "What is kept.");
const OVERRIDE: Key = Key::read("override", Bool, "Whether what is kept already is replaced.");
const FAIL: Key = Key::read("failIfKeyNotFound", Bool, "Whether the step fails when nothing is kept.");
const METADATA: Key = Key::read("preserveMetadata", Bool, "Whether owners and times of the files come back too.");
const SOURCE_PATH: Key = Key::read("sourcePath", Text, "What is uploaded.");
const TARGET: Key = Key::read("target", Text, "Path in the store.");
const STRIP: Key = Key::read("stripPrefix", Text, "Beginning that is left out of the paths.");
const RESOURCES: Key = Key::new("resources", Any, Role::Describes, "");
const IMAGES: Key = Key::new("baseImageConnectorRefs", Any, Role::Describes, "");
const PULL: Key = Key::new("imagePullPolicy", Any, Role::Describes, "");
const USER: Key = Key::no_effect("runAsUser", Text, AGENT);

/// `spec` of a step that keeps files.
pub static SAVE: Table = Table::open(
    "cache step's `spec`",
    &[
        KEY,
        SOURCE_PATHS,
        BUCKET,
        CONTAINER,
        ACCOUNT,
        CONNECTOR,
        REGION,
        ENDPOINT,
        PATH_STYLE,
        FORMAT,
        OVERRIDE,
        RESOURCES,
        IMAGES,
        PULL,
        USER,
    ],
);

/// `spec` of a step that brings files back.
pub static RESTORE: Table = Table::open(
    "cache step's `spec`",
    &[
        KEY, BUCKET, CONTAINER, ACCOUNT, CONNECTOR, REGION, ENDPOINT, PATH_STYLE, FORMAT, FAIL, METADATA, RESOURCES,
        IMAGES, PULL, USER,
    ],
);

/// `spec` of a step that uploads.
pub static UPLOAD: Table = Table::open(
    "upload step's `spec`",
    &[BUCKET, CONNECTOR, REGION, ENDPOINT, SOURCE_PATH, TARGET, STRIP, RESOURCES, IMAGES, PULL, USER],
);
