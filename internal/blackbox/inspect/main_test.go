package inspect_test

import (
	"testing"

	"github.com/quill-kafka/quill/internal/blackbox/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }
