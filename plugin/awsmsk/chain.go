package awsmsk

import (
	"context"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// chain is the SDK's configuration, with a profile and a role if the options of the login module name them. It is loaded when it
// is first needed, and again after an error.
type chain struct {
	profile string // awsProfileName
	role    role

	mu sync.Mutex // held while the configuration is loaded, which reads files
	// +checklocks:mu
	loaded *aws.Config
}

// role is a role that is assumed.
type role struct {
	arn, session, externalID string
	stsRegion                string // of the service that gives it; if empty, the SDK's
}

func (c *chain) load(ctx context.Context) (aws.Config, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.loaded != nil {
		return *c.loaded, nil
	}
	var options []func(*config.LoadOptions) error
	if c.profile != "" {
		options = append(options, config.WithSharedConfigProfile(c.profile))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return aws.Config{}, err
	}
	if c.role.arn != "" {
		cfg.Credentials = aws.NewCredentialsCache(c.role.provider(cfg))
	}
	c.loaded = &cfg
	return cfg, nil
}

// provider asks AWS STS for the role, with the credentials of cfg.
func (r role) provider(cfg aws.Config) aws.CredentialsProvider {
	client := sts.NewFromConfig(cfg, func(o *sts.Options) {
		if r.stsRegion != "" {
			o.Region = r.stsRegion
		}
	})
	return stscreds.NewAssumeRoleProvider(client, r.arn, func(o *stscreds.AssumeRoleOptions) {
		if r.session != "" {
			o.RoleSessionName = r.session
		}
		if r.externalID != "" {
			o.ExternalID = &r.externalID
		}
	})
}
