//! Manifests we know and don't read: each is the gap `packages/unread-manifest`, so that nothing pulled in passes unseen.
//!
//! One data table. A row leaves it when its ecosystem gets a file in `ecosystems/`. Start reading at [`UNREAD`].

use crate::reader::{Found, Tree, file_name, folder, join};

/// A manifest we don't read.
#[derive(Debug)]
pub struct Unread {
    /// File name; one `*` stands for any text.
    pub name: &'static str,
    /// What it belongs to, in the words of its users.
    pub tool: &'static str,
    /// It only counts when its text holds one of these; empty: always.
    pub holds: &'static [&'static str],
    /// It does not count beside one of these, which say the same and more precisely.
    pub beside: &'static [&'static str],
}

const fn row(name: &'static str, tool: &'static str) -> Unread {
    Unread {
        name,
        tool,
        holds: &[],
        beside: &[],
    }
}

const PYTHON_LOCKS: &[&str] = &[
    "poetry.lock",
    "uv.lock",
    "pdm.lock",
    "pylock.toml",
    "Pipfile.lock",
    "pixi.lock",
];

pub static UNREAD: &[Unread] = &[
    // Python
    row("poetry.lock", "Poetry"),
    row("uv.lock", "uv"),
    row("pdm.lock", "PDM"),
    row("pylock.toml", "Python"),
    row("pylock.*.toml", "Python"),
    row("Pipfile.lock", "Pipenv"),
    row("pixi.lock", "pixi"),
    row("conda-lock.yml", "conda"),
    row("*requirements*.txt", "pip"),
    row("constraints.txt", "pip"),
    Unread {
        name: "Pipfile",
        tool: "Pipenv",
        holds: &[],
        beside: PYTHON_LOCKS,
    },
    Unread {
        name: "pyproject.toml",
        tool: "Python",
        holds: &["dependencies", "requires ="],
        beside: PYTHON_LOCKS,
    },
    Unread {
        name: "setup.py",
        tool: "setuptools",
        holds: &["install_requires", "setup_requires"],
        beside: &[],
    },
    Unread {
        name: "setup.cfg",
        tool: "setuptools",
        holds: &["install_requires", "setup_requires"],
        beside: &[],
    },
    Unread {
        name: "environment.yml",
        tool: "conda",
        holds: &["dependencies"],
        beside: &["conda-lock.yml"],
    },
    Unread {
        name: "environment.yaml",
        tool: "conda",
        holds: &["dependencies"],
        beside: &["conda-lock.yml"],
    },
    // JavaScript
    row("yarn.lock", "Yarn"),
    row("pnpm-lock.yaml", "pnpm"),
    row("bun.lock", "Bun"),
    row("bun.lockb", "Bun"),
    row("deno.lock", "Deno"),
    row("bower.json", "Bower"),
    // Java, Kotlin, Scala, Clojure
    row("pom.xml", "Maven"),
    row("gradle.lockfile", "Gradle"),
    row("buildscript-gradle.lockfile", "Gradle"),
    row("verification-metadata.xml", "Gradle"),
    row("libs.versions.toml", "Gradle"),
    Unread {
        name: "build.gradle",
        tool: "Gradle",
        holds: &["dependencies"],
        beside: &["gradle.lockfile"],
    },
    Unread {
        name: "build.gradle.kts",
        tool: "Gradle",
        holds: &["dependencies"],
        beside: &["gradle.lockfile"],
    },
    row("ivy.xml", "Ivy"),
    row("build.sbt", "sbt"),
    row("deps.edn", "Clojure"),
    row("project.clj", "Leiningen"),
    row("maven_install.json", "Bazel"),
    row("MODULE.bazel.lock", "Bazel"),
    Unread {
        name: "MODULE.bazel",
        tool: "Bazel",
        holds: &["bazel_dep"],
        beside: &["MODULE.bazel.lock"],
    },
    // .NET
    row("packages.lock.json", "NuGet"),
    row("packages.config", "NuGet"),
    row("project.assets.json", "NuGet"),
    row("*.deps.json", ".NET"),
    row("Directory.Packages.props", "NuGet"),
    row("paket.lock", "Paket"),
    Unread {
        name: "*.csproj",
        tool: "NuGet",
        holds: &["PackageReference"],
        beside: &["packages.lock.json"],
    },
    Unread {
        name: "*.fsproj",
        tool: "NuGet",
        holds: &["PackageReference"],
        beside: &["packages.lock.json"],
    },
    Unread {
        name: "*.vbproj",
        tool: "NuGet",
        holds: &["PackageReference"],
        beside: &["packages.lock.json"],
    },
    // Ruby
    row("Gemfile.lock", "Bundler"),
    row("gems.locked", "Bundler"),
    Unread {
        name: "Gemfile",
        tool: "Bundler",
        holds: &[],
        beside: &["Gemfile.lock"],
    },
    Unread {
        name: "gems.rb",
        tool: "Bundler",
        holds: &[],
        beside: &["gems.locked"],
    },
    Unread {
        name: "*.gemspec",
        tool: "RubyGems",
        holds: &["dependency"],
        beside: &["Gemfile.lock", "gems.locked"],
    },
    // PHP
    row("composer.lock", "Composer"),
    Unread {
        name: "composer.json",
        tool: "Composer",
        holds: &["\"require"],
        beside: &["composer.lock"],
    },
    // Swift, Objective-C
    row("Package.resolved", "Swift"),
    Unread {
        name: "Package.swift",
        tool: "Swift",
        holds: &[".package("],
        beside: &["Package.resolved"],
    },
    row("Podfile.lock", "CocoaPods"),
    Unread {
        name: "Podfile",
        tool: "CocoaPods",
        holds: &[],
        beside: &["Podfile.lock"],
    },
    row("Cartfile.resolved", "Carthage"),
    // C and C++
    row("conan.lock", "Conan"),
    Unread {
        name: "conanfile.txt",
        tool: "Conan",
        holds: &[],
        beside: &["conan.lock"],
    },
    Unread {
        name: "conanfile.py",
        tool: "Conan",
        holds: &["requires"],
        beside: &["conan.lock"],
    },
    row("vcpkg.json", "vcpkg"),
    row(".gitmodules", "git submodules"),
    // The rest
    row("mix.lock", "Mix"),
    row("rebar.lock", "rebar3"),
    row("pubspec.lock", "pub"),
    Unread {
        name: "pubspec.yaml",
        tool: "pub",
        holds: &["dependencies"],
        beside: &["pubspec.lock"],
    },
    row("renv.lock", "renv"),
    row("packrat.lock", "packrat"),
    row("cabal.project.freeze", "Cabal"),
    row("stack.yaml.lock", "Stack"),
    Unread {
        name: "*.cabal",
        tool: "Cabal",
        holds: &["build-depends"],
        beside: &["cabal.project.freeze", "stack.yaml.lock"],
    },
    row("cpanfile.snapshot", "Carton"),
    Unread {
        name: "cpanfile",
        tool: "CPAN",
        holds: &[],
        beside: &["cpanfile.snapshot"],
    },
    row("*.opam.locked", "opam"),
    Unread {
        name: "*.opam",
        tool: "opam",
        holds: &["depends"],
        beside: &[],
    },
    row("Manifest.toml", "Julia"),
    row("dub.selections.json", "DUB"),
    row("shard.lock", "Shards"),
    row("*.rockspec", "LuaRocks"),
    row("elm.json", "Elm"),
    row("flake.lock", "Nix"),
    row("Chart.lock", "Helm"),
    row(".terraform.lock.hcl", "Terraform"),
    row("Gopkg.lock", "dep"),
    row("glide.lock", "Glide"),
];

/// The row for this path, whatever its text and what stands beside it.
pub fn known(path: &str) -> Option<&'static Unread> {
    let name = file_name(path);
    UNREAD.iter().find(|row| matches(row.name, name))
}

/// One gap for each such file.
pub fn name_gaps(tree: &Tree<'_>, found: &mut Found) {
    for (path, bytes) in tree.all() {
        let Some(row) = known(path) else { continue };
        let beside = row
            .beside
            .iter()
            .any(|name| tree.get(&join(folder(path), name)).is_some());
        let holds = row.holds.is_empty() || row.holds.iter().any(|text| contains(bytes, text.as_bytes()));
        if holds && !beside {
            found.gap(
                "packages/unread-manifest",
                path,
                format!(
                    "{} files are not read yet, so what this one pulls in is unknown",
                    row.tool
                ),
            );
        }
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let (first, mut rest) = (parts.next().unwrap_or_default(), name);
    match rest.strip_prefix(first) {
        Some(after) => rest = after,
        None => return false,
    }
    let middle: Vec<&str> = parts.collect();
    let Some((last, middle)) = middle.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::matches;
    use crate::{is_manifest, read};

    #[test]
    fn patterns() {
        for (pattern, name, expect) in [
            ("pom.xml", "pom.xml", true),
            ("pom.xml", "pom.xml.bak", false),
            ("*requirements*.txt", "dev-requirements.in.txt", true),
            ("*requirements*.txt", "requirements.txt", true),
            ("*requirements*.txt", "requirements.md", false),
            ("*.csproj", "A.csproj", true),
            ("pylock.*.toml", "pylock.toml", false),
        ] {
            assert_eq!(matches(pattern, name), expect, "{pattern} {name}");
        }
    }

    #[test]
    fn what_we_don_t_read_is_named() {
        for path in [
            "a/pom.xml",
            "requirements-dev.txt",
            "yarn.lock",
            "x/poetry.lock",
            "conan.lock",
            "Podfile.lock",
        ] {
            assert!(is_manifest(path), "{path}");
            let inventory = read(&[(path.to_owned(), Vec::new())]);
            assert_eq!(
                inventory
                    .gaps
                    .iter()
                    .map(|gap| (gap.id.as_str(), gap.what.as_str(), gap.blocks))
                    .collect::<Vec<_>>(),
                [("packages/unread-manifest", path, true)]
            );
        }
        for path in ["src/main.rs", "web/node_modules/a/package.json", "README.md"] {
            assert!(!is_manifest(path), "{path}");
        }
    }

    #[test]
    fn a_manifest_beside_its_lock_is_one_gap_and_a_tool_s_settings_are_none() {
        let files = [
            ("Gemfile", "gem 'a'"),
            ("Gemfile.lock", "GEM"),
            ("pyproject.toml", "[tool.ruff]\nline-length = 100\n"),
        ];
        let inventory = read(&files.map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec())));
        assert_eq!(
            inventory.gaps.iter().map(|gap| gap.what.as_str()).collect::<Vec<_>>(),
            ["Gemfile.lock"]
        );
    }
}
