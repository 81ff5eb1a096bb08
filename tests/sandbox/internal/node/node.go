// SPDX-License-Identifier: GPL-3.0-or-later

// Package node makes, boots and breaks the nodes: systemd-nspawn on an overlay over the base tree.
package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"k3s-ha.core/sandbox/internal/cgroup"
	"k3s-ha.core/sandbox/internal/network"
	"k3s-ha.core/sandbox/internal/state"
)

// The files of a node, all under its directory.
const (
	upperDir   = "upper"       // the overlay's writable layer: the node's disk
	workDir    = "work"        // the overlay's own
	rootDir    = "root"        // where the overlay is mounted, in the node's mount namespace alone
	rancherDir = "rancher"     // /var/lib/rancher: an overlay cannot be the upper layer of another, so it is none
	pidFile    = "pid"         // systemd-nspawn's process
	lockFile   = "nspawn-lock" // name of the lock that systemd-nspawn leaves behind when it is killed
	consoleLog = "console.log"
)

const nspawnDir = "/run/systemd/nspawn"

// Boot starts a node and returns at once. The launcher, another run of this program, writes its process id down,
// joins the node's control group and becomes systemd-nspawn.
func Boot(c *state.Cluster, n state.Node, group cgroup.Group) error {
	if err := group.Create(); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(c.NodeDir(n), consoleLog), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, "launch", c.Dir, n.Name)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := os.Remove(filepath.Join(c.NodeDir(n), pidFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	return cmd.Process.Release()
}

// Launch is the other end of Boot. It returns only on failure.
func Launch(c *state.Cluster, n state.Node, group cgroup.Group) error {
	dir := c.NodeDir(n)
	if err := writePid(filepath.Join(dir, pidFile)); err != nil {
		return err
	}
	if err := group.Join("boot"); err != nil {
		return err
	}
	if err := ownMounts(n.Netns); err != nil {
		return err
	}
	root := filepath.Join(dir, rootDir)
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", c.Base, filepath.Join(dir, upperDir), filepath.Join(dir, workDir))
	if err := unix.Mount("overlay", root, "overlay", 0, options); err != nil {
		return fmt.Errorf("overlay on %s: %w", root, err)
	}
	if err := recordLock(root, filepath.Join(dir, lockFile)); err != nil {
		return err
	}
	nspawn, err := exec.LookPath("systemd-nspawn")
	if err != nil {
		return err
	}
	args := []string{nspawn, "--boot", "--quiet", "--directory=" + root,
		"--machine=" + n.Machine, "--hostname=" + n.Name, "--keep-unit", "--register=no",
		"--capability=all", "--system-call-filter=@keyring bpf",
		"--network-namespace-path=" + network.Path(n.Netns), "--resolv-conf=off", "--timezone=off", "--link-journal=no",
		"--bind=" + filepath.Join(dir, rancherDir) + ":/var/lib/rancher",
		"--bind-ro=" + filepath.Join(dir, binDir) + ":/opt/k3s/bin",
		"--console=pipe"}
	return unix.Exec(nspawn, args, os.Environ())
}

// recordLock writes down which lock systemd-nspawn will take: it names it by the root directory's device and inode.
func recordLock(root, path string) error {
	var st unix.Stat_t
	if err := unix.Stat(root, &st); err != nil {
		return err
	}
	return state.WriteFile(path, fmt.Appendf(nil, "inode-%d:%d", st.Dev, st.Ino), 0o600)
}

// NspawnFiles are the files that systemd-nspawn leaves outside the node's directory when it is killed.
func NspawnFiles(c *state.Cluster, n state.Node) []string {
	files := []string{filepath.Join(nspawnDir, "propagate", n.Machine), filepath.Join(nspawnDir, "unix-export", n.Machine)}
	if lock, err := os.ReadFile(filepath.Join(c.NodeDir(n), lockFile)); err == nil {
		files = append(files, filepath.Join(nspawnDir, "locks", string(lock)))
	}
	return files
}

// Alive says whether the recorded process of a node is there. One that has not written its number yet counts as alive.
func Alive(c *state.Cluster, n state.Node) (bool, error) {
	if _, err := os.Stat(filepath.Join(c.NodeDir(n), pidFile)); errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	pid, err := launcher(c, n)
	return pid != 0, err
}

// KillLauncher ends the recorded process of a node, wherever it has come to.
func KillLauncher(c *state.Cluster, n state.Node) error {
	pid, err := launcher(c, n)
	if err != nil || pid == 0 {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}

// Console is the end of what a node wrote to its console.
func Console(c *state.Cluster, n state.Node) string {
	b, err := os.ReadFile(filepath.Join(c.NodeDir(n), consoleLog))
	if err != nil {
		return err.Error()
	}
	const end = 600
	if len(b) > end {
		b = b[len(b)-end:]
	}
	return strings.TrimSpace(string(b))
}

// ownMounts gives this process a mount namespace that follows the machine's. What the node mounts goes with its last
// process, and namespaces of other clusters are not held by it: an unmount outside reaches in.
func ownMounts(netns string) error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return err
	}
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return err
	}
	names, err := filepath.Glob(network.Path("*"))
	if err != nil {
		return err
	}
	for _, name := range names {
		if name == network.Path(netns) {
			continue
		}
		if err := unix.Unmount(name, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("unmount %s: %w", name, err)
		}
	}
	return nil
}

// writePid records this process with its start time, so that a number used again by another is not taken for it.
func writePid(path string) error {
	start, err := startTime(os.Getpid())
	if err != nil {
		return err
	}
	return state.WriteFile(path, fmt.Appendf(nil, "%d %s\n", os.Getpid(), start), 0o600)
}

func startTime(pid int) (string, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	// The second field is a name in parentheses that may hold anything.
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	const start = 22 - 3
	if len(fields) <= start {
		return "", fmt.Errorf("/proc/%d/stat is short", pid)
	}
	return fields[start], nil
}

// launcher is the recorded systemd-nspawn, or 0 if it is gone.
func launcher(c *state.Cluster, n state.Node) (int, error) {
	b, err := os.ReadFile(filepath.Join(c.NodeDir(n), pidFile))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	var pid int
	var start string
	if _, err := fmt.Sscan(string(b), &pid, &start); err != nil {
		return 0, fmt.Errorf("%s: %w", pidFile, err)
	}
	now, err := startTime(pid)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) || now != start {
		return 0, nil
	}
	return pid, err
}

// Init is the machine's number for the node's process 1, or 0 if the node is not running.
func Init(c *state.Cluster, n state.Node) (int, error) {
	parent, err := launcher(c, n)
	if err != nil || parent == 0 {
		return 0, err
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", parent, parent))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil // ended meanwhile
	}
	if err != nil {
		return 0, err
	}
	for _, child := range strings.Fields(string(children)) {
		status, err := os.ReadFile("/proc/" + child + "/status")
		if err == nil && isInit(string(status)) {
			return strconv.Atoi(child)
		}
	}
	return 0, nil
}

// isInit reads /proc/PID/status of a child: is it process 1 in a namespace below ours, and alive?
func isInit(status string) bool {
	first := false
	for line := range strings.Lines(status) {
		f := strings.Fields(line)
		switch {
		case len(f) > 1 && f[0] == "State:" && f[1] == "Z":
			return false
		case len(f) > 2 && f[0] == "NSpid:":
			first = f[len(f)-1] == "1"
		}
	}
	return first
}

// State is what a look at a node tells.
type State string

const (
	Running     State = "running"
	Off         State = "off"
	Hung        State = "hung"
	Partitioned State = "partitioned"
)

// Look says how a node is.
func Look(c *state.Cluster, n state.Node, group cgroup.Group) (State, error) {
	pid, err := Init(c, n)
	if err != nil {
		return "", err
	}
	if pid == 0 {
		return Off, nil
	}
	if frozen, err := group.Frozen(); err != nil || frozen {
		return Hung, err
	}
	if up, err := network.LinkUp(c, n); err != nil || !up {
		return Partitioned, err
	}
	return Running, nil
}

// Kill is a loss of power: the cable first, so that no last word gets out, then every process at one moment.
func Kill(c *state.Cluster, n state.Node, group cgroup.Group) error {
	if err := network.SetLink(c, n, false); err != nil {
		return err
	}
	return group.Kill(5 * time.Second)
}

// Hang stops the node where it stands; the kernel goes on answering for it.
func Hang(group cgroup.Group) error { return group.Freeze() }

// Partition pulls the node's cable.
func Partition(c *state.Cluster, n state.Node) error { return network.SetLink(c, n, false) }

// Restore undoes whatever was done to a node: it lets it go on, plugs the cable in, or boots it again.
func Restore(c *state.Cluster, n state.Node, group cgroup.Group) error {
	now, err := Look(c, n, group)
	if err != nil {
		return err
	}
	if now == Off {
		if err := group.Kill(5 * time.Second); err != nil {
			return err
		}
		if err := group.Remove(5 * time.Second); err != nil {
			return err
		}
		if err := network.Refresh(c, n); err != nil {
			return err
		}
		return Boot(c, n, group)
	}
	if err := network.SetLink(c, n, true); err != nil {
		return err
	}
	return group.Thaw()
}
