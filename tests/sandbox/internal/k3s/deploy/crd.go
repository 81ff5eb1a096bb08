// SPDX-License-Identifier: GPL-3.0-or-later

package deploy

import (
	"context"
	"fmt"

	"github.com/k3s-io/api/pkg/crds"
	helmcrds "github.com/k3s-io/helm-controller/pkg/crds"
	apiextv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiext "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"

	"time"
)

const crdWait = 30 * time.Second

// CreateCRDs makes the AddOn's resource definition (and its siblings), with helm
// also helm-controller's, and waits until the apiserver serves them.
func CreateCRDs(ctx context.Context, cfg *rest.Config, helm bool) error {
	client, err := apiext.NewForConfig(cfg)
	if err != nil {
		return err
	}
	all, err := crds.List()
	if err != nil {
		return err
	}
	if helm {
		charts, err := helmcrds.List()
		if err != nil {
			return err
		}
		all = append(all, charts...)
	}
	definitions := client.ApiextensionsV1().CustomResourceDefinitions()
	for _, crd := range all {
		if _, err := definitions.Create(ctx, crd, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("CRD %s: %w", crd.Name, err)
		}
	}
	for _, crd := range all {
		err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, crdWait, true, func(ctx context.Context) (bool, error) {
			live, err := definitions.Get(ctx, crd.Name, metav1.GetOptions{})
			if err != nil {
				return false, err
			}
			for _, cond := range live.Status.Conditions {
				if cond.Type == apiextv1.Established && cond.Status == apiextv1.ConditionTrue {
					return true, nil
				}
			}
			return false, nil
		})
		if err != nil {
			return fmt.Errorf("CRD %s is not served: %w", crd.Name, err)
		}
	}
	return nil
}
