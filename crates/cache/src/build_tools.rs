//! What build tools keep, and by which files it is told whether that still fits.

/// A build tool, as Cache Intelligence sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuildTool {
    /// What people call it.
    pub name: &'static str,
    /// Files of the workspace of which at least one is there when the tool is used. What is kept goes by their content.
    pub files: &'static [&'static str],
    /// What is kept, in the home directory or the workspace.
    pub paths: &'static [&'static str],
}

/// The tools that are known.
pub const BUILD_TOOLS: &[BuildTool] = &[
    BuildTool { name: "maven", files: &["pom.xml", "*/pom.xml"], paths: &["~/.m2/repository"] },
    BuildTool {
        name: "gradle",
        files: &[
            "{build,settings}.gradle",
            "{build,settings}.gradle.kts",
            "*/build.gradle",
            "*/build.gradle.kts",
            "gradle.lockfile",
            "gradle/libs.versions.toml",
            "gradle/wrapper/gradle-wrapper.properties",
        ],
        paths: &["~/.gradle/caches", "~/.gradle/wrapper"],
    },
    BuildTool {
        name: "bazel",
        files: &["MODULE.bazel", "MODULE.bazel.lock", "WORKSPACE", "WORKSPACE.bazel"],
        paths: &["~/.cache/bazel"],
    },
    BuildTool { name: "npm", files: &["package-lock.json", "npm-shrinkwrap.json"], paths: &["node_modules", "~/.npm"] },
    BuildTool {
        name: "yarn",
        files: &["yarn.lock"],
        paths: &["node_modules", ".yarn/cache", "~/.yarn/berry/cache", "~/.cache/yarn"],
    },
    BuildTool { name: "pnpm", files: &["pnpm-lock.yaml"], paths: &["~/.local/share/pnpm/store"] },
    BuildTool { name: "go", files: &["go.sum", "*/go.sum", "go.mod"], paths: &["~/go/pkg/mod", "~/.cache/go-build"] },
    BuildTool {
        name: "pip",
        files: &["requirements*.txt", "Pipfile.lock", "poetry.lock", "uv.lock", "pyproject.toml"],
        paths: &["~/.cache/pip"],
    },
    BuildTool { name: "cargo", files: &["Cargo.lock"], paths: &["~/.cargo/registry", "~/.cargo/git", "target"] },
    BuildTool { name: "bundler", files: &["Gemfile.lock"], paths: &["vendor/bundle"] },
    BuildTool {
        name: "nuget",
        files: &["packages.lock.json", "*/packages.lock.json", "*.{cs,vb,fs}proj", "*/*.{cs,vb,fs}proj"],
        paths: &["~/.nuget/packages"],
    },
];
