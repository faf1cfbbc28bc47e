package entratest

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// checkResponse decodes a response. Any deviation from RFC 7644 and from what Entra
// expects is an error.
func checkResponse(resp *http.Response, data []byte, statuses []int) (document, error) {
	quote := string(data[:min(len(data), maxQuoted)])
	wanted := slices.Contains(statuses, resp.StatusCode)
	if resp.StatusCode == http.StatusNoContent && wanted {
		return nil, nil
	}
	var body document
	problem := typeProblem(resp.Header.Get("Content-Type"))
	if err := json.Unmarshal(data, &body); problem == "" && err != nil {
		problem = "the response is not a JSON object: " + err.Error()
	}
	if problem == "" && resp.StatusCode >= http.StatusBadRequest {
		problem = errorProblem(body, resp.StatusCode)
	}
	if !wanted {
		return nil, errors.New(logLine(resp.Status, quote, problem))
	}
	if problem == "" && resp.StatusCode == http.StatusCreated && !locates(resp.Header.Get("Location"), body) {
		problem = fmt.Sprintf("the Location %q is not the resource's meta.location", resp.Header.Get("Location"))
	}
	if problem != "" {
		return nil, fmt.Errorf("%s: %s (%s)", resp.Status, problem, quote)
	}
	return body, nil
}

// logLine returns the message that Entra's provisioning log would have.
func logLine(status, quote, problem string) string {
	line := "StatusCode: " + status + " Message: Processing of the HTTP request resulted in an exception. Web Response: " + quote +
		". This operation was retried 0 times."
	if problem != "" {
		line += " Moreover, " + problem + "."
	}
	return line
}

func typeProblem(text string) string {
	kind, params, err := mime.ParseMediaType(text)
	charset := params["charset"]
	if err != nil || kind != scimType || charset != "" && !strings.EqualFold(charset, "utf-8") {
		return fmt.Sprintf("Content-Type is %q, not %s", text, scimType)
	}
	return ""
}

// errorProblem returns what is wrong with an error response (RFC 7644 §3.12), or "".
func errorProblem(body document, status int) string {
	switch {
	case !has(body, errorURN):
		return "the schemas of the response do not say that it is an error"
	case body["status"] != strconv.Itoa(status):
		return fmt.Sprintf("the error's status is %#v, not the string %q", body["status"], strconv.Itoa(status))
	case status != http.StatusNotFound && text(body, "detail") == "":
		return "the error has no detail for the administrator to read"
	}
	return ""
}

// locates reports whether a Location is that of the created resource (RFC 7644 §3.3).
func locates(location string, made document) bool {
	meta, _ := made["meta"].(document)
	u, err := url.Parse(location)
	return err == nil && u.IsAbs() && location == text(meta, "location") && strings.HasSuffix(u.Path, "/"+text(made, "id"))
}

func text(d document, name string) string {
	s, _ := d[name].(string)
	return s
}

// has reports whether a document names a schema.
func has(d document, urn string) bool {
	names, _ := d["schemas"].([]any)
	return slices.Contains(names, any(urn))
}

// resourceProblem returns what is wrong with a user or group, or "".
func resourceProblem(d document, urn string) string {
	meta, _ := d["meta"].(document)
	switch {
	case !has(d, urn):
		return "its schemas lack " + urn
	case text(d, "id") == "":
		return "it has no id"
	case !strings.HasSuffix(urn, ":"+text(meta, "resourceType")) || text(meta, "resourceType") == "":
		return fmt.Sprintf("its meta.resourceType is %q", text(meta, "resourceType"))
	case text(meta, "created") == "" || text(meta, "lastModified") == "" || text(meta, "location") == "":
		return "its meta lacks created, lastModified or location"
	case urn == userURN && !isBool(d["active"]):
		return fmt.Sprintf("its active is %#v, not a boolean", d["active"])
	}
	return ""
}

func isBool(v any) bool { _, ok := v.(bool); return ok }

// match returns the one resource that a query finds; nil if there is none.
func (p *Provisioner) match(query string) (document, error) {
	list, err := p.call(http.MethodGet, query, nil, http.StatusOK)
	if err != nil {
		return nil, err
	}
	found, err := only(list)
	if err != nil {
		return nil, fmt.Errorf("GET %s: %w", query, err)
	}
	return found, nil
}

// only returns the one resource in a list; nil if there is none (RFC 7644 §3.4.2).
func only(list document) (document, error) {
	total, isNumber := list["totalResults"].(float64)
	resources, isList := list["Resources"].([]any)
	switch {
	case !has(list, listURN):
		return nil, fmt.Errorf("the response to a query is not a ListResponse")
	case !isNumber || !isList:
		return nil, fmt.Errorf("the response to a query lacks totalResults or Resources")
	case total > 1:
		return nil, fmt.Errorf("duplicate target entries: %g", total)
	case int(total) != len(resources):
		return nil, fmt.Errorf("totalResults is %g, and there are %d Resources", total, len(resources))
	case total == 0:
		return nil, nil
	}
	resource, _ := resources[0].(document)
	if text(resource, "id") == "" {
		return nil, fmt.Errorf("the resource found has no id")
	}
	return resource, nil
}

// equals returns an escaped filter, with plus signs for spaces, as Entra sends it.
func equals(attribute, value string) string {
	literal, _ := json.Marshal(value) // a string can always be encoded
	return url.QueryEscape(attribute + " eq " + string(literal))
}
