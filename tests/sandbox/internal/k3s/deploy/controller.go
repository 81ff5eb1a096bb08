// SPDX-License-Identifier: GPL-3.0-or-later

package deploy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	addonv1 "github.com/k3s-io/api/k3s.cattle.io/v1"
	"github.com/k3s-io/api/pkg/generated/clientset/versioned"
	"github.com/k3s-io/api/pkg/generated/clientset/versioned/scheme"
	wrangler "github.com/rancher/wrangler/v3/pkg/apply"
	"github.com/rancher/wrangler/v3/pkg/objectset"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"
)

const (
	controllerName = "deploy"
	period         = 15 * time.Second
	// gvksAnnotation remembers the kinds that an AddOn applied, so that objects
	// whose kind left the manifest are found and pruned.
	gvksAnnotation = "addon.k3s.cattle.io/gvks"
	gvksSeparator  = ";"
)

// Controller applies the manifests of one directory. Every server runs one; it
// is not leader-elected.
type Controller struct {
	Period time.Duration // from the end of one of Run's passes to the next

	dir      string
	disabled map[string]bool
	log      func(format string, args ...any)

	addons    versioned.Interface
	discovery discovery.DiscoveryInterface
	apply     wrangler.Apply
	events    record.EventRecorder
	stop      func()

	passed  chan struct{}        // closed after the first pass
	applied map[string]time.Time // path → mtime when it was applied last
	served  map[schema.GroupVersionKind]bool
}

// New makes a controller for the server called node. Its field manager is
// deploy@<node>: the apiserver takes it from the user agent.
func New(cfg *rest.Config, node, dir string, disabled map[string]bool, log func(string, ...any)) (*Controller, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.UserAgent = controllerName + "@" + node
	kube, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	addons, err := versioned.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	broadcaster := record.NewBroadcaster()
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: kube.CoreV1().Events(metav1.NamespaceSystem)})
	return &Controller{
		Period:    period,
		dir:       dir,
		disabled:  disabled,
		log:       log,
		addons:    addons,
		discovery: kube.Discovery(),
		apply:     wrangler.New(kube.Discovery(), wrangler.NewClientFactory(cfg)).WithDynamicLookup(),
		events:    broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: controllerName, Host: node}),
		stop:      broadcaster.Shutdown,
		passed:    make(chan struct{}),
		applied:   map[string]time.Time{},
		served:    map[schema.GroupVersionKind]bool{},
	}, nil
}

// Run passes over the directory until ctx ends. Passes are forced (everything
// is applied) until one went through without an error.
func (c *Controller) Run(ctx context.Context) {
	defer c.stop()
	force := true
	for first := true; ; first = false {
		if err := c.Pass(ctx, force); err != nil {
			c.log("deploy: %v", err)
		} else {
			force = false
		}
		if first {
			close(c.passed)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(c.Period):
		}
	}
}

// Passed is closed once Run's first pass is over, whatever came of it.
func (c *Controller) Passed() <-chan struct{} { return c.passed }

// Pass goes over all files once. One bad file does not keep the others away.
func (c *Controller) Pass(ctx context.Context, force bool) error {
	files, err := scan(c.dir, c.disabled)
	if err != nil {
		return err
	}
	var failed []error
	for _, m := range files {
		switch {
		case m.fate == ignore:
		case m.fate == disable:
			if err := c.remove(ctx, m.path); err != nil {
				failed = append(failed, fmt.Errorf("failed to delete %s: %w", m.path, err))
			}
		case !force && m.changed.Equal(c.applied[m.path]):
		default:
			if err := c.deploy(ctx, m.path, force); err != nil {
				failed = append(failed, fmt.Errorf("failed to process %s: %w", m.path, err))
			} else {
				c.applied[m.path] = m.changed
			}
		}
	}
	return errors.Join(failed...)
}

func (c *Controller) deploy(ctx context.Context, path string, force bool) error {
	addons := c.addons.K3sV1().Addons(metav1.NamespaceSystem)
	addon, err := c.addon(ctx, path)
	if err != nil {
		return err
	}
	addon.Spec.Source = path
	if addon.UID == "" {
		// Events and owner annotations need an AddOn that exists.
		if addon, err = addons.Create(ctx, addon, metav1.CreateOptions{}); err != nil {
			return err
		}
		identify(addon)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		c.events.Eventf(addon, corev1.EventTypeWarning, "ReadManifestFailed", "Read manifest at %q failed: %v", path, err)
		return err
	}
	sum := checksum(content)
	if !force && sum == addon.Spec.Checksum {
		return nil
	}
	objects, err := parseObjects(content)
	if err != nil {
		c.events.Eventf(addon, corev1.EventTypeWarning, "ParseManifestFailed", "Parse manifest at %q failed: %v", path, err)
		return err
	}
	set := objectset.NewObjectSet(objects...)
	known, err := c.known(append(set.GVKs(), parseGVKs(addon.Annotations[gvksAnnotation])...))
	if err != nil {
		c.events.Eventf(addon, corev1.EventTypeWarning, "ValidateManifestFailed", "Validate GVKs for manifest at %q failed: %v", path, err)
		return err
	}
	c.events.Eventf(addon, corev1.EventTypeNormal, "ApplyingManifest", "Applying manifest at %q", path)
	if err := c.apply.WithContext(ctx).WithOwner(addon).WithGVK(known...).Apply(set); err != nil {
		c.events.Eventf(addon, corev1.EventTypeWarning, "ApplyManifestFailed", "Applying manifest at %q failed: %v", path, err)
		return err
	}
	c.events.Eventf(addon, corev1.EventTypeNormal, "AppliedManifest", "Applied manifest at %q", path)
	if addon.Annotations == nil {
		addon.Annotations = map[string]string{}
	}
	addon.Spec.Checksum = sum
	addon.Annotations[gvksAnnotation] = formatGVKs(set.GVKs())
	_, err = addons.Update(ctx, addon, metav1.UpdateOptions{})
	return err
}

// remove deletes what a manifest applied, then the file, then its AddOn.
func (c *Controller) remove(ctx context.Context, path string) error {
	addon, err := c.addon(ctx, path)
	if err != nil {
		return err
	}
	gvks := parseGVKs(addon.Annotations[gvksAnnotation])
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if objects, err := parseObjects(content); err != nil {
		c.events.Eventf(addon, corev1.EventTypeWarning, "ParseManifestFailed", "Parse manifest at %q failed: %v", path, err)
	} else {
		gvks = append(gvks, objectset.NewObjectSet(objects...).GVKs()...)
	}
	known, err := c.known(gvks)
	if err != nil {
		return err
	}
	if err := c.apply.WithContext(ctx).WithOwner(addon).WithGVK(known...).ApplyObjects(); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	c.events.Eventf(addon, corev1.EventTypeNormal, "DeletingManifest", "Deleting manifest at %q", path)
	err = c.addons.K3sV1().Addons(addon.Namespace).Delete(ctx, addon.Name, metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func (c *Controller) addon(ctx context.Context, path string) (*addonv1.Addon, error) {
	name := addonName(path)
	addon, err := c.addons.K3sV1().Addons(metav1.NamespaceSystem).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return addonv1.NewAddon(metav1.NamespaceSystem, name, addonv1.Addon{}), nil
	} else if err != nil {
		return nil, err
	}
	identify(addon)
	return addon, nil
}

// identify restores apiVersion and kind, which a typed client drops and which
// the owner annotations and events carry.
func identify(a *addonv1.Addon) {
	a.APIVersion, a.Kind = addonv1.SchemeGroupVersion.String(), "Addon"
}

// known leaves out kinds that the server does not have: they cannot be listed.
func (c *Controller) known(gvks []schema.GroupVersionKind) ([]schema.GroupVersionKind, error) {
	var known []schema.GroupVersionKind
	for _, gvk := range gvks {
		if !c.served[gvk] {
			list, err := c.discovery.ServerResourcesForGroupVersion(gvk.GroupVersion().String())
			if apierrors.IsNotFound(err) {
				continue
			} else if err != nil {
				return nil, err
			}
			for _, r := range list.APIResources {
				if r.Group == "" && r.Version == "" { // else a subresource of another group
					c.served[gvk.GroupVersion().WithKind(r.Kind)] = true
				}
			}
		}
		if c.served[gvk] {
			known = append(known, gvk)
		}
	}
	return known, nil
}

// A kind is written as group/version, Kind=kind, as schema.GroupVersionKind prints.
func parseGVKs(s string) []schema.GroupVersionKind {
	var gvks []schema.GroupVersionKind
	for _, one := range strings.Split(s, gvksSeparator) {
		gv, kind, ok := strings.Cut(one, ", Kind=")
		if !ok {
			continue
		}
		group, version, ok := strings.Cut(gv, "/")
		if ok {
			gvks = append(gvks, schema.GroupVersionKind{Group: group, Version: version, Kind: kind})
		}
	}
	return gvks
}

func formatGVKs(gvks []schema.GroupVersionKind) string {
	list := make([]string, len(gvks))
	for i, gvk := range gvks {
		list[i] = gvk.String()
	}
	return strings.Join(list, gvksSeparator)
}
