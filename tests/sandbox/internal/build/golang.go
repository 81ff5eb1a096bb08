// SPDX-License-Identifier: GPL-3.0-or-later

package build

import (
	"embed"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"

	"k3s-ha.core/sandbox/internal/failure"
)

//go:embed modules
var modules embed.FS

// The language version of the generated modules. A newer toolchain than the machine's is fetched by Go itself.
const goVersion = "1.26.0"

// findGo asks the start script, which knows where to look and what to do when there is none.
func findGo() (string, error) {
	if g := os.Getenv("SANDBOX_GO"); g != "" {
		return g, nil
	}
	script := os.Getenv("SANDBOX_SCRIPT")
	if script == "" {
		return "", failure.New(failure.Machine, "start this program by tests/sandbox/sandbox: it finds a Go")
	}
	dir, err := run("/", nil, script, "--go-path")
	if err != nil {
		return "", failure.New(failure.Machine, "no Go: %v", err)
	}
	return filepath.Join(strings.TrimSpace(string(dir)), "go"), nil
}

// module is a Go module that is made for programs of others. What its programs have in common has one version in all of
// them, as in k3s, which is one program: so it is compiled once.
type module struct {
	mains    []string          // files in modules/, each a program of that name
	packages map[string]string // programs whose own main package is taken as it is, with its path
	requires []string          // module@version
	more     string            // lines of a go.mod
	staging  string            // version of k8s.io/kubernetes whose staging modules go with it
	others   map[string]string // staging modules that are taken from another release
}

// program is one of a module's.
type program struct {
	name    string
	ldflags string
	cgo     bool
}

// text is the module's go.mod, but for the staging modules.
func (m module) text() string {
	mod := "module programs\n\ngo " + goVersion + "\n"
	for _, r := range m.requires {
		mod += "require " + strings.Replace(r, "@", " ", 1) + "\n"
	}
	for _, name := range slices.Sorted(maps.Keys(m.packages)) {
		mod += "tool " + m.packages[name] + "\n"
	}
	return mod + m.more
}

// write makes a module in a directory.
func (b *Builder) write(m module, dir string) error {
	mod := m.text()
	if m.staging != "" {
		replaces, err := b.staging(m.staging, m.others)
		if err != nil {
			return err
		}
		mod += replaces
	}
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(mod), 0o644); err != nil {
		return err
	}
	for _, name := range m.mains {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name, "main.go"), mainFile(name), 0o644); err != nil {
			return err
		}
	}
	_, err := run(dir, []string{"GOFLAGS=-mod=mod"}, b.golang, "mod", "tidy")
	return err
}

func mainFile(name string) []byte {
	source, err := modules.ReadFile("modules/" + name + ".go.in")
	if err != nil {
		panic(err) // embedded
	}
	return source
}

func (b *Builder) program(m module, p program) entry {
	e := entry{name: p.name, inputs: append([]string{"program 2", m.text(), m.staging, p.ldflags, fmt.Sprint(p.cgo)}, pairs(m.others)...)}
	for _, name := range m.mains {
		e.inputs = append(e.inputs, name, string(mainFile(name)))
	}
	e.make = func(dir string) error {
		src, err := os.MkdirTemp(b.cache, ".making-src-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(src)
		if err := b.write(m, src); err != nil {
			return err
		}
		pkg := "./" + p.name
		if path, ok := m.packages[p.name]; ok {
			pkg = path
		}
		return b.compile(src, pkg, filepath.Join(dir, p.name), p.ldflags, p.cgo)
	}
	return e
}

// pairs lists a map in a fixed order.
func pairs(m map[string]string) []string {
	var list []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		list = append(list, key+" "+m[key])
	}
	return list
}

// The linker leaves it out; that the compiler makes none in the first place spares it a tenth of its time. Flags count as
// an input of what is compiled, so the scripts sandbox and test have this one, too.
const noDebugInfo = "-gcflags=all=-dwarf=false"

func (b *Builder) compile(src, pkg, out, ldflags string, cgo bool) error {
	env, flags := []string{"CGO_ENABLED=0"}, "-s -w"
	args := []string{"build", noDebugInfo}
	if cgo {
		// The extended library of sqlite would load others at run time; a static program cannot.
		env = []string{"CGO_ENABLED=1", "CGO_CFLAGS=-DSQLITE_ENABLE_DBSTAT_VTAB=1 -DSQLITE_USE_ALLOCA=1"}
		flags += ` -linkmode external -extldflags "-static"`
		args = append(args, "-tags=netgo,osusergo,sqlite_omit_load_extension")
	}
	if ldflags != "" {
		flags += " " + ldflags
	}
	_, err := run(src, env, b.golang, append(args, "-ldflags="+flags, "-o", out, pkg)...)
	return err
}

// installed is a program of others whose own main package is taken as it is.
func (b *Builder) installed(name, pkg, version string) entry {
	return entry{
		name:   name,
		inputs: []string{"installed 1", goVersion, pkg, version},
		make: func(dir string) error {
			env := []string{"CGO_ENABLED=0", "GOBIN=" + dir}
			_, err := run(dir, env, b.golang, "install", noDebugInfo, "-ldflags=-s -w", pkg+"@v"+version)
			return err
		},
	}
}

var requireBlock = regexp.MustCompile(`(?s)require \(\n.*?\n\)\n`)

// requirements are the blocks of a go.mod that say what it requires.
func requirements(goMod string) string {
	return strings.Join(requireBlock.FindAllString(goMod, -1), "")
}

var stagingRule = regexp.MustCompile(`(?m)^\s*(?:replace\s+)?(k8s\.io/[a-z0-9-]+) => \./staging/src/`)

// staging replaces each module that lives in Kubernetes' own tree by its published copy. Which ones there are differs
// by minor, so the list is read from k8s.io/kubernetes' go.mod.
func (b *Builder) staging(kubernetes string, others map[string]string) (string, error) {
	out, err := run(b.cache, []string{"GOFLAGS=-mod=mod"}, b.golang, "mod", "download", "-json", "k8s.io/kubernetes@v"+kubernetes)
	if err != nil {
		return "", err
	}
	var module struct{ GoMod string }
	if err := json.Unmarshal(out, &module); err != nil {
		return "", err
	}
	text, err := os.ReadFile(module.GoMod)
	if err != nil {
		return "", err
	}
	return stagingReplaces(string(text), kubernetes, others)
}

func stagingReplaces(goMod, kubernetes string, others map[string]string) (string, error) {
	_, minorAndPatch, ok := strings.Cut(kubernetes, ".")
	if !ok {
		return "", fmt.Errorf("Kubernetes version %q", kubernetes)
	}
	var lines []string
	for _, m := range stagingRule.FindAllStringSubmatch(goMod, -1) {
		version, ok := others[m[1]]
		if !ok {
			version = "0." + minorAndPatch
		}
		lines = append(lines, fmt.Sprintf("replace %s => %s v%s\n", m[1], m[1], version))
	}
	if len(lines) == 0 {
		return "", fmt.Errorf("the go.mod of Kubernetes %s names no staging module", kubernetes)
	}
	sort.Strings(lines)
	return strings.Join(lines, ""), nil
}
