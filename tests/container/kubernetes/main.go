// Says what an API server of Kubernetes 1.35 with its default feature gates says to the manifests that it is given: it
// decodes them strictly, sets defaults, prepares and validates each object as on `kubectl create`, and judges the pods
// by the Pod Security Standard "restricted" in its newest version. Prints one line for each object; the exit code is 0
// if nothing is wrong with any.
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	_ "k8s.io/kubernetes/pkg/apis/apps/install"
	_ "k8s.io/kubernetes/pkg/apis/batch/install"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	"k8s.io/kubernetes/pkg/registry/apps/deployment"
	"k8s.io/kubernetes/pkg/registry/apps/statefulset"
	"k8s.io/kubernetes/pkg/registry/batch/job"
	"k8s.io/kubernetes/pkg/registry/core/configmap"
	"k8s.io/kubernetes/pkg/registry/core/serviceaccount"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

var strategies = map[string]rest.RESTCreateStrategy{
	"ConfigMap":      configmap.Strategy,
	"Deployment":     deployment.Strategy,
	"Job":            job.Strategy,
	"ServiceAccount": serviceaccount.Strategy,
	"StatefulSet":    statefulset.Strategy,
}

func main() {
	bad := false
	for _, path := range os.Args[1:] {
		if err := manifest(path); err != nil {
			fmt.Printf("%s: %v\n", path, err)
			bad = true
		}
	}
	if bad {
		os.Exit(1)
	}
}

func manifest(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	decoder := serializer.NewCodecFactory(legacyscheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		object, kind, err := decoder.Decode(document, nil, nil)
		if err != nil {
			return err
		}
		if err := judge(object, kind); err != nil {
			return fmt.Errorf("%s: %w", kind.Kind, err)
		}
		fmt.Printf("%s: %s\n", path, kind.Kind)
	}
}

func judge(object runtime.Object, kind *schema.GroupVersionKind) error {
	if template := template(object); template != nil {
		evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
		if err != nil {
			return err
		}
		level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
		results := evaluator.EvaluatePod(level, &template.ObjectMeta, &template.Spec)
		if result := policy.AggregateCheckResults(results); !result.Allowed {
			return errors.New(result.ForbiddenDetail())
		}
	}
	// A Service gets its addresses from the cluster, which is more than this is.
	strategy, known := strategies[kind.Kind]
	if kind.Kind == "Service" {
		return nil
	} else if !known {
		return errors.New("there is no strategy for this kind here")
	}
	legacyscheme.Scheme.Default(object)
	version := schema.GroupVersion{Group: kind.Group, Version: runtime.APIVersionInternal}
	internal, err := legacyscheme.Scheme.ConvertToVersion(object, version)
	if err != nil {
		return err
	}
	accessor := internal.(metav1.Object)
	accessor.SetNamespace("default")
	rest.FillObjectMetaSystemFields(accessor)
	ctx := genericapirequest.WithNamespace(context.Background(), "default")
	if err := rest.BeforeCreate(strategy, ctx, internal); err != nil {
		return err
	}
	if warnings := strategy.WarningsOnCreate(ctx, internal); len(warnings) > 0 {
		return fmt.Errorf("warnings: %q", warnings)
	}
	return nil
}

func template(object runtime.Object) *corev1.PodTemplateSpec {
	switch object := object.(type) {
	case *appsv1.Deployment:
		return &object.Spec.Template
	case *appsv1.StatefulSet:
		return &object.Spec.Template
	case *batchv1.Job:
		return &object.Spec.Template
	}
	return nil
}
