// Command segmentio runs segmentio's kafka-go, whose reader speaks the oldest versions of the group APIs, against a
// broker.
package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"streamd/clients/check"
)

const name = "kafka-go"

func main() {
	check.Main(name, "github.com/segmentio/kafka-go", run)
}

func run(broker string) {
	topic := check.FreshName(name)
	group := topic + "-group"
	admin := client(broker)
	create(admin, topic)
	sent := produce(broker, topic)
	ledger := check.NewLedger()
	ledger.EmptyIsNull = true
	check.Step("first member of the group, from the earliest record")
	consume(broker, admin, topic, group, ledger, check.Half)
	check.Step("the same group again, from where it left off")
	consume(broker, admin, topic, group, ledger, check.Total)
	ledger.Complete(sent)
	lookUp(broker, admin, topic, ledger)
	inspectGroup(admin, topic, group, ledger)
	share(broker, admin, topic, topic+"-shared")
	remove(broker, admin, topic, group, topic+"-shared")
}

// client is a client with a transport of its own: that is where this library keeps metadata, for seconds.
func client(broker string) *kafka.Client {
	return &kafka.Client{Addr: kafka.TCP(broker), Timeout: check.Wait, Transport: &kafka.Transport{}}
}

func limited() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), check.Wait)
}

func create(admin *kafka.Client, topic string) {
	ctx, cancel := limited()
	defer cancel()
	check.Step("create a topic")
	wanted := &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{
		Topic:             topic,
		NumPartitions:     check.Partitions,
		ReplicationFactor: 1,
		ConfigEntries:     []kafka.ConfigEntry{{ConfigName: "retention.ms", ConfigValue: "86400000"}},
	}}}
	answer, err := admin.CreateTopics(ctx, wanted)
	check.OK("creating a topic", err)
	check.OK("creating a topic", answer.Errors[topic])
	check.Settle()
	answer, err = admin.CreateTopics(ctx, wanted)
	check.OK("creating a topic twice", err)
	again := answer.Errors[topic]
	check.True("creating a topic twice must say TOPIC_ALREADY_EXISTS", errors.Is(again, kafka.TopicAlreadyExists), again)
	check.Step("list and describe it")
	all := metadata(ctx, admin)
	found := false
	for _, t := range all.Topics {
		if t.Name != topic {
			continue
		}
		found = true
		check.OK("metadata of the topic", t.Error)
		var partitions []int32
		for _, p := range t.Partitions {
			check.Expect("leader of a partition", all.Brokers[0].ID, p.Leader.ID)
			partitions = append(partitions, int32(p.ID))
		}
		check.Expect("partitions", check.AllPartitions(), check.Sorted(partitions))
	}
	check.True("topic list must name the topic", found, all.Topics)
	described, err := admin.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{{
		ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, ConfigNames: []string{"retention.ms"},
	}}})
	check.OK("describing configs", err)
	check.OK("describing configs", described.Resources[0].Error)
	check.Expect("number of configs asked for", 1, len(described.Resources[0].ConfigEntries))
	check.Expect("retention.ms", "86400000", described.Resources[0].ConfigEntries[0].ConfigValue)
}

func metadata(ctx context.Context, admin *kafka.Client) *kafka.MetadataResponse {
	answer, err := admin.Metadata(ctx, &kafka.MetadataRequest{})
	check.OK("metadata", err)
	return answer
}

func produce(broker, topic string) map[int]check.Place {
	codecs := []struct {
		name  string
		codec kafka.Compression
	}{{"none", 0}, {"gzip", kafka.Gzip}, {"snappy", kafka.Snappy}, {"lz4", kafka.Lz4}, {"zstd", kafka.Zstd}}
	ctx, cancel := limited()
	defer cancel()
	var mu sync.Mutex
	sent := map[int]check.Place{}
	for i, c := range codecs {
		check.Step("produce with " + c.name)
		writer := &kafka.Writer{
			Addr:         kafka.TCP(broker),
			Topic:        topic,
			Balancer:     kafka.Murmur2Balancer{},
			RequiredAcks: kafka.RequireAll,
			Compression:  c.codec,
			BatchTimeout: 5 * time.Millisecond,
			Completion: func(messages []kafka.Message, err error) {
				defer check.Guard(name)
				check.OK("producing with "+c.name, err)
				mu.Lock()
				defer mu.Unlock()
				for _, m := range messages {
					sent[check.Number(headers(m))] = check.Place{Partition: int32(m.Partition), Offset: m.Offset}
				}
			},
		}
		var messages []kafka.Message
		for n := i * check.Total / len(codecs); n < (i+1)*check.Total/len(codecs); n++ {
			m := kafka.Message{Key: check.Key(n), Value: check.Value(n), Time: check.Time(n)}
			for _, h := range check.Headers(n) {
				m.Headers = append(m.Headers, kafka.Header{Key: h.Name, Value: h.Value})
			}
			messages = append(messages, m)
		}
		check.OK("producing with "+c.name, writer.WriteMessages(ctx, messages...))
		check.OK("closing the writer", writer.Close())
	}
	check.Expect("records acknowledged", check.Total, len(sent))
	return sent
}

func headers(m kafka.Message) []check.Header {
	var all []check.Header
	for _, h := range m.Headers {
		all = append(all, check.Header{Name: h.Key, Value: h.Value})
	}
	return all
}

func member(broker, topic, group string) *kafka.Reader {
	return kafka.NewReader(kafka.ReaderConfig{
		Brokers:           []string{broker},
		GroupID:           group,
		Topic:             topic,
		StartOffset:       kafka.FirstOffset,
		HeartbeatInterval: 300 * time.Millisecond,
		// Longer than this program waits for anything: a member that leaves must say so.
		SessionTimeout:   45 * time.Second,
		RebalanceTimeout: 10 * time.Second,
		MaxWait:          500 * time.Millisecond,
		QueueCapacity:    10,
		ErrorLogger:      kafka.LoggerFunc(func(text string, args ...any) { fmt.Printf("reader: "+text+"\n", args...) }),
	})
}

// consume runs a reader until the ledger has count records, commits, looks at the group, and leaves it.
func consume(broker string, admin *kafka.Client, topic, group string, ledger *check.Ledger, count int) {
	ctx, cancel := limited()
	defer cancel()
	reader := member(broker, topic, group)
	var taken []kafka.Message
	for ledger.Count() < count {
		m, err := reader.FetchMessage(ctx)
		check.OK(fmt.Sprintf("fetch after %d records", ledger.Count()), err)
		ledger.Take(check.Place{Partition: int32(m.Partition), Offset: m.Offset}, m.Key, m.Value, headers(m), m.Time)
		taken = append(taken, m)
	}
	if count == check.Total {
		quiet, stop := context.WithTimeout(ctx, time.Second)
		m, err := reader.FetchMessage(quiet)
		check.True("a record after the last one", errors.Is(err, context.DeadlineExceeded), fmt.Sprint(m.Partition, m.Offset, err))
		stop()
	}
	check.OK("commit", reader.CommitMessages(ctx, taken...))
	state, members := describe(ctx, admin, group)
	check.Expect("state of a group with a member", "Stable", state)
	check.Expect("members", 1, len(members))
	assigned := members[0].MemberAssignments.Topics
	check.Expect("topics assigned to the only member", 1, len(assigned))
	check.Expect("partitions assigned to the only member", check.Partitions, len(assigned[0].Partitions))
	check.OK("closing the reader", reader.Close())
}

func describe(ctx context.Context, admin *kafka.Client, group string) (string, []kafka.DescribeGroupsResponseMember) {
	described, err := admin.DescribeGroups(ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{group}})
	check.OK("describing the group", err)
	check.OK("describing the group", described.Groups[0].Error)
	return described.Groups[0].GroupState, described.Groups[0].Members
}

func lookUp(broker string, admin *kafka.Client, topic string, ledger *check.Ledger) {
	ctx, cancel := limited()
	defer cancel()
	check.Step("look offsets up, by place and by time, and seek there")
	for _, n := range []int{0, 123, check.Total - 1} {
		var asked []kafka.OffsetRequest
		for _, p := range check.AllPartitions() {
			asked = append(asked, kafka.FirstOffsetOf(int(p)), kafka.LastOffsetOf(int(p)), kafka.TimeOffsetOf(int(p), check.Time(n)))
		}
		answer, err := admin.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: asked}})
		check.OK("listing offsets", err)
		check.Expect("partitions answered", check.Partitions, len(answer.Topics[topic]))
		for _, p := range answer.Topics[topic] {
			at := fmt.Sprintf(" of %d", p.Partition)
			check.OK("listing offsets"+at, p.Error)
			check.Expect("first offset"+at, int64(0), p.FirstOffset)
			check.Expect("last offset"+at, ledger.NextOffset[int32(p.Partition)], p.LastOffset)
			want := ledger.FirstAtOrAfter(int32(p.Partition), n, -1)
			_, found := p.Offsets[want]
			check.True(fmt.Sprintf("offset of time %d%s must be %d", n, at, want), found, p.Offsets)
		}
	}
	at := ledger.Seen[321]
	reader := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{broker}, Topic: topic, Partition: int(at.Partition), MaxWait: 500 * time.Millisecond})
	defer reader.Close()
	check.OK("seek", reader.SetOffset(at.Offset))
	m, err := reader.ReadMessage(ctx)
	check.OK("fetch after a seek", err)
	check.Expect("value after a seek", string(check.Value(321)), string(m.Value))
}

func inspectGroup(admin *kafka.Client, topic, group string, ledger *check.Ledger) {
	ctx, cancel := limited()
	defer cancel()
	check.Step("list and describe the group")
	check.True("group list must name the group", listed(ctx, admin, group), group)
	state, members := describe(ctx, admin, group)
	check.Expect("state of a group without members", "Empty", state)
	check.Expect("members of a group without members", 0, len(members))
	committed, err := admin.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: {0, 1, 2}}})
	check.OK("fetching the group's offsets", err)
	check.OK("fetching the group's offsets", committed.Error)
	check.Expect("partitions with offsets", check.Partitions, len(committed.Topics[topic]))
	for _, p := range committed.Topics[topic] {
		check.OK(fmt.Sprintf("offset committed in %d", p.Partition), p.Error)
		check.Expect(fmt.Sprintf("offset committed in %d", p.Partition), ledger.NextOffset[int32(p.Partition)], p.CommittedOffset)
	}
}

func listed(ctx context.Context, admin *kafka.Client, group string) bool {
	answer, err := admin.ListGroups(ctx, &kafka.ListGroupsRequest{})
	check.OK("listing groups", err)
	check.OK("listing groups", answer.Error)
	for _, g := range answer.Groups {
		if g.GroupID == group {
			return true
		}
	}
	return false
}

// owned is how many partitions each member has, as the group's coordinator tells it; this client does not tell its own.
func owned(ctx context.Context, admin *kafka.Client, group string) [][]int32 {
	state, members := describe(ctx, admin, group)
	var all [][]int32
	for _, m := range members {
		var mine []int32
		for _, t := range m.MemberAssignments.Topics {
			for _, p := range t.Partitions {
				mine = append(mine, int32(p))
			}
		}
		all = append(all, mine)
	}
	if state != "Stable" {
		return nil
	}
	return all
}

func share(broker string, admin *kafka.Client, topic, group string) {
	ctx, cancel := limited()
	defer cancel()
	check.Step("two members of one group")
	var seenFirst, seen check.Numbers
	join := func(seen *check.Numbers) *kafka.Reader {
		reader := member(broker, topic, group)
		go func() {
			defer check.Guard(name)
			for {
				m, err := reader.FetchMessage(context.Background())
				if err != nil {
					return
				}
				seen.Add(check.Number(headers(m)))
			}
		}()
		return reader
	}
	alone := func() bool {
		all := owned(ctx, admin, group)
		return len(all) == 1 && len(all[0]) == check.Partitions
	}
	first := join(&seenFirst)
	check.Until("all partitions with the first member", alone)
	second := join(&seen)
	check.Until("partitions divided between two members", func() bool {
		all := owned(ctx, admin, group)
		return len(all) == 2 && check.Divided(all[0], all[1])
	})
	check.OK("closing the first reader", first.Close())
	check.Until("all partitions with the member that stayed", alone)
	// Nothing was committed, so this member has read every record itself: what the other had comes again.
	check.Until("every record with the member that stayed", func() bool { return seen.Len() == check.Total })
	check.OK("closing the second reader", second.Close())
}

func remove(broker string, admin *kafka.Client, topic string, groups ...string) {
	ctx, cancel := limited()
	defer cancel()
	check.Step("delete the groups and the topic")
	gone, err := admin.DeleteGroups(ctx, &kafka.DeleteGroupsRequest{GroupIDs: groups})
	check.OK("deleting groups", err)
	for _, group := range groups {
		check.OK("deleting group "+group, gone.Errors[group])
		check.Expect("deleted group still listed", false, listed(ctx, admin, group))
	}
	deleted, err := admin.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{topic}})
	check.OK("deleting the topic", err)
	check.OK("deleting the topic", deleted.Errors[topic])
	check.Settle()
	for _, t := range metadata(ctx, client(broker)).Topics {
		check.Expect("deleted topic still listed", false, t.Name == topic)
	}
}
