package awsmsk

import (
	"regexp"
	"slices"
	"strings"
)

// region is the form of the names of regions: us-east-1, us-gov-west-1, us-iso-east-1, eusc-de-east-1, ap-southeast-7.
var region = regexp.MustCompile(`^[a-z]{2,5}(-[a-z]+){1,3}-[0-9]{1,2}$`)

// services are the labels that stand before the region in the names of nodes.
var services = []string{"kafka", "kafka-serverless"}

// regionOf returns the region that a node's name has, empty if it has none:
//
//	b-1.name.abc123.c2.kafka.us-east-1.amazonaws.com
//	boot-abc123.c3.kafka-serverless.us-east-1.amazonaws.com
//	b-1.name.abc123.c2.kafka.cn-north-1.amazonaws.com.cn
//	b-1.name.abc123.c2.kafka.eu-west-1.api.aws (dual-stack)
//
// It goes by the labels and not by the end of the name, which each partition of AWS has of its own.
func regionOf(host string) string {
	labels := strings.Split(strings.ToLower(strings.TrimSuffix(host, ".")), ".")
	for i, label := range labels {
		if i > 0 && slices.Contains(services, labels[i-1]) && region.MatchString(label) {
			return label
		}
	}
	return ""
}
