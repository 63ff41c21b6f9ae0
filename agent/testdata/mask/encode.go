// Writes what Go's encoders make of each value, alone and in a text. See encoded.md.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"os"
	"strconv"
	"strings"
)

func marshal(text string) string {
	out, _ := json.Marshal(text)
	return string(out)
}

func plain(text string) string {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.Encode(text)
	return strings.TrimSpace(out.String())
}

func userinfo(text string) string {
	return strings.TrimPrefix(url.UserPassword("", text).String(), ":")
}

func line(by, value, encoded, text string) {
	hexed := func(text string) string { return hex.EncodeToString([]byte(text)) }
	fmt.Printf("Go %s\t%s\t%s\t%s\n", by, hexed(value), hexed(encoded), hexed(text))
}

func main() {
	encoders := []struct {
		by     string
		encode func(string) string
	}{
		{"json.Marshal", func(text string) string { out := marshal(text); return out[1 : len(out)-1] }},
		{"json.Marshal twice", func(text string) string { out := marshal(marshal(text)); return out[3 : len(out)-3] }},
		{"json SetEscapeHTML(false)", func(text string) string { out := plain(text); return out[1 : len(out)-1] }},
		{"url.QueryEscape", url.QueryEscape},
		{"url.PathEscape", url.PathEscape},
		{"url.UserPassword", userinfo},
		{"html.EscapeString", html.EscapeString},
		{"strconv.Quote", func(text string) string { out := strconv.Quote(text); return out[1 : len(out)-1] }},
	}
	values, _ := os.ReadFile(os.Args[1])
	for _, value := range strings.Split(strings.TrimSpace(string(values)), "\n") {
		for _, one := range encoders {
			line(one.by, value, one.encode(value), one.encode("user="+value+", next"))
		}
		for _, before := range []string{"", "u", "me", "user:"} {
			text := []byte(before + value + "@")
			line("base64.StdEncoding", value, "", base64.StdEncoding.EncodeToString(text))
			line("base64.RawURLEncoding", value, "", base64.RawURLEncoding.EncodeToString(text))
		}
	}
}
