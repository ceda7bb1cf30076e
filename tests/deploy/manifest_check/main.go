// Reads Kubernetes manifests in YAML from standard input and decodes each as the API server does with
// fieldValidation=Strict: unknown and repeated fields are errors, and so is a wrong letter case. It
// writes the decoded objects as a list in JSON, or all errors and status 1.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	manifests "k8s.io/apimachinery/pkg/util/yaml"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
	strict "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

func main() {
	known := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		core.AddToScheme, apps.AddToScheme, networking.AddToScheme, gateway.Install,
	} {
		if err := add(known); err != nil {
			panic(err)
		}
	}
	objects, problems := decodeAll(known, manifests.NewYAMLReader(bufio.NewReader(os.Stdin)))
	for _, problem := range problems {
		fmt.Fprintln(os.Stderr, problem)
	}
	if len(problems) > 0 {
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(objects); err != nil {
		panic(err)
	}
}

func decodeAll(known *runtime.Scheme, documents *manifests.YAMLReader) (objects []runtime.Object, problems []error) {
	for {
		document, err := documents.Read()
		if err == io.EOF {
			return objects, problems
		}
		if err != nil {
			return objects, append(problems, err)
		}
		text, err := yaml.YAMLToJSONStrict(document) // fails for repeated keys
		if err != nil {
			problems = append(problems, err)
			continue
		}
		if string(text) == "null" { // only comments
			continue
		}
		object, found := decode(known, text)
		objects = append(objects, object)
		problems = append(problems, found...)
	}
}

func decode(known *runtime.Scheme, text []byte) (runtime.Object, []error) {
	var head struct {
		meta.TypeMeta `json:",inline"`
		Metadata      meta.ObjectMeta `json:"metadata"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return nil, []error{err}
	}
	object, err := known.New(head.GroupVersionKind())
	if err != nil {
		return nil, []error{err}
	}
	problems, err := strict.UnmarshalStrict(text, object)
	if err != nil {
		problems = append(problems, err)
	}
	for number, problem := range problems {
		problems[number] = fmt.Errorf("%s %s: %w", head.Kind, head.Metadata.Name, problem)
	}
	return object, problems
}
