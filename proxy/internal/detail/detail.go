// Package detail writes what a line of the audit record says beside its fields. It is pure.
package detail

import (
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"sallyport/directory"
	"sallyport/policy"
)

// Decision returns what the decision would be if rules in report mode counted, and the address of the front proxy that asked; "" is none.
func Decision(report *policy.Verdict, asker string) map[string]string {
	if report == nil && asker == "" {
		return nil
	}
	detail := map[string]string{}
	if report != nil {
		detail["report_decision"], detail["report_rule"], detail["report_reason"] = "deny", report.Rule, string(report.Reason)
		if report.Allow {
			detail["report_decision"] = "allow"
		}
	}
	if asker != "" {
		detail["front"] = asker
	}
	return detail
}

// Cut returns when a request began that was cut.
func Cut(begun time.Time) map[string]string {
	return map[string]string{"begun": begun.UTC().Format(time.RFC3339Nano)}
}

// Cause adds to detail which change of the directory ended a request; the zero value is none.
func Cause(detail map[string]string, change directory.Receipt) {
	if change == (directory.Receipt{}) {
		return
	}
	detail["received"] = change.Received.UTC().Format(time.RFC3339Nano)
	detail["change"] = strconv.FormatUint(change.Revision, 10)
}

// Trace adds to detail the id of the trace that a request belongs to; "" is none.
func Trace(detail map[string]string, id string) map[string]string {
	if id == "" {
		return detail
	}
	return With(detail, "trace", id)
}

// maxValue bounds the value of a claim in the record, in bytes.
const maxValue = 256

// LookedFor adds to detail how a user was looked for who is not in the directory: by a claim, whose value was compared
// with an attribute.
func LookedFor(detail map[string]string, claim, value, attribute string) map[string]string {
	detail = With(detail, "claim", claim)
	detail["value"], detail["attribute"] = bounded(value), attribute
	return detail
}

// With sets one value of a detail, which may be nil.
func With(detail map[string]string, name, value string) map[string]string {
	if detail == nil {
		detail = map[string]string{}
	}
	detail[name] = value
	return detail
}

// bounded returns text without characters that are no text, cut between two characters where it is too long.
func bounded(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return utf8.RuneError
	}, text)
	if len(text) <= maxValue {
		return text
	}
	end := maxValue
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}
