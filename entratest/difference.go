package entratest

import (
	"fmt"
	"reflect"
	"strings"
)

// difference returns which part of sent is missing or different in got, or "". An
// empty value (null, "", an empty list) may be missing; got may have more.
func difference(path string, sent, got any) string {
	switch sent := sent.(type) {
	case nil:
		return ""
	case document:
		object, _ := got.(document)
		for name, value := range sent {
			if problem := difference(strings.TrimPrefix(path+"."+name, "."), value, object[name]); problem != "" {
				return problem
			}
		}
		return ""
	case []any:
		return listDifference(path, sent, got)
	}
	if sent == "" && got == nil || reflect.DeepEqual(sent, got) {
		return ""
	}
	return fmt.Sprintf("%s was sent as %#v and is %#v", path, sent, got)
}

func listDifference(path string, sent []any, got any) string {
	elements, _ := got.([]any)
	for _, element := range sent {
		found := false
		for _, candidate := range elements {
			found = found || difference(path, element, candidate) == ""
		}
		if !found {
			return fmt.Sprintf("%s lacks %v", path, element)
		}
	}
	return ""
}

// valueAt returns an attribute by its path in a PATCH: "name.givenName",
// "urn:…:User:department", `emails[type eq "work"].value`.
func valueAt(d document, path string) any {
	if urn, rest, ok := cutURN(path); ok {
		extension, _ := d[urn].(document)
		return valueAt(extension, rest)
	}
	name, rest, filtered := strings.Cut(path, "[")
	if !filtered {
		name, rest, deeper := strings.Cut(path, ".")
		if !deeper {
			return d[name]
		}
		inner, _ := d[name].(document)
		return valueAt(inner, rest)
	}
	filter, rest, _ := strings.Cut(rest, "]")
	attribute, literal, _ := strings.Cut(filter, " eq ")
	elements, _ := d[name].([]any)
	for _, e := range elements {
		if e, ok := e.(document); ok && fmt.Sprint(e[attribute]) == strings.Trim(literal, `"`) {
			return valueAt(e, strings.TrimPrefix(rest, "."))
		}
	}
	return nil
}

// cutURN cuts "urn:…:User:name" at its last colon.
func cutURN(path string) (urn, rest string, ok bool) {
	i := strings.LastIndex(path, ":")
	if i < 0 || !strings.HasPrefix(path, "urn:") {
		return "", path, false
	}
	return path[:i], path[i+1:], true
}
