// Package signing signs launches of {{NAME}}.
// On your server only: the secret must never reach a page.
package signing

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
)

// Sign returns what goes behind the `?`; each pair is a name and a value.
func Sign(secret string, pairs [][2]string) string {
	pairs = append([][2]string{}, pairs...)
	hasTime := false
	for _, pair := range pairs {
		hasTime = hasTime || pair[0] == "timestamp"
	}
	if !hasTime {
		pairs = append(pairs, [2]string{"timestamp", strconv.FormatInt(time.Now().UnixMilli(), 10)})
	}
	sort.SliceStable(pairs, func(i, j int) bool { return units(pairs[i][0]) < units(pairs[j][0]) })
	parts := make([]string, len(pairs))
	for at, pair := range pairs {
		parts[at] = escape(pair[0]) + "=" + escape(pair[1])
	}
	text := strings.Join(parts, "&")
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(text))
	return text + "&signature=" + hex.EncodeToString(mac.Sum(nil))
}

// JavaScript orders names by their UTF-16 code units.
func units(name string) string {
	var bytes []byte
	for _, unit := range utf16.Encode([]rune(name)) {
		bytes = append(bytes, byte(unit>>8), byte(unit))
	}
	return string(bytes)
}

var exact = strings.NewReplacer("%2A", "*", "~", "%7E")

func escape(text string) string { return exact.Replace(url.QueryEscape(text)) }

// url := "{{URL}}?" + Sign(os.Getenv("SIGNING_SECRET"), [][2]string{ {{EXAMPLE_GO}} })
