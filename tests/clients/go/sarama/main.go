// Command sarama runs IBM's sarama against a broker, once with the protocol versions that it takes by default and once
// with the newest it has.
package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"streamd/clients/check"
)

const name = "sarama"

func main() {
	check.Main(name, "github.com/IBM/sarama", func(broker string) {
		for _, version := range []sarama.KafkaVersion{sarama.DefaultVersion, sarama.MaxVersion} {
			check.Step("as a client of Kafka " + version.String())
			run(broker, version)
		}
	})
}

func run(broker string, version sarama.KafkaVersion) {
	topic := check.FreshName(name) + "-" + version.String()
	group := topic + "-group"
	brokers := []string{broker}
	admin, err := sarama.NewClusterAdmin(brokers, config(version))
	check.OK("new admin", err)
	defer admin.Close()
	create(admin, topic)
	sent := produce(brokers, version, topic)
	ledger := check.NewLedger()
	check.Step("first member of the group, from the earliest record")
	consume(brokers, version, admin, topic, group, ledger, check.Half)
	check.Step("the same group again, from where it left off")
	consume(brokers, version, admin, topic, group, ledger, check.Total)
	ledger.Complete(sent)
	lookUp(brokers, version, topic, ledger)
	inspectGroup(admin, topic, group, ledger)
	share(brokers, version, topic, topic+"-shared")
	remove(admin, topic, group, topic+"-shared")
}

func config(version sarama.KafkaVersion) *sarama.Config {
	c := sarama.NewConfig()
	c.Version = version
	c.Net.MaxOpenRequests = 1
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Idempotent = true
	c.Producer.Return.Successes = true
	c.Producer.Return.Errors = true
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Offsets.AutoCommit.Enable = false
	c.Consumer.Return.Errors = true
	c.Consumer.MaxWaitTime = 500 * time.Millisecond
	c.Consumer.Fetch.Default = 20_000
	c.Consumer.Group.Heartbeat.Interval = 300 * time.Millisecond
	// Longer than this program waits for anything: a member that leaves must say so.
	c.Consumer.Group.Session.Timeout = 45 * time.Second
	return c
}

func create(admin sarama.ClusterAdmin, topic string) {
	check.Step("create a topic")
	retention := "86400000"
	detail := &sarama.TopicDetail{
		NumPartitions:     check.Partitions,
		ReplicationFactor: 1,
		ConfigEntries:     map[string]*string{"retention.ms": &retention},
	}
	check.OK("creating a topic", admin.CreateTopic(topic, detail, false))
	check.Settle()
	again := admin.CreateTopic(topic, detail, false)
	check.True("creating a topic twice must say TOPIC_ALREADY_EXISTS", errors.Is(again, sarama.ErrTopicAlreadyExists), again)
	check.Step("list and describe it")
	all, err := admin.ListTopics()
	check.OK("listing topics", err)
	found, ok := all[topic]
	check.True("topic list must name the topic", ok, all)
	check.Expect("number of partitions", int32(check.Partitions), found.NumPartitions)
	check.True("topic list must have the topic's retention.ms", found.ConfigEntries["retention.ms"] != nil, found.ConfigEntries)
	check.Expect("retention.ms", retention, *found.ConfigEntries["retention.ms"])
	described, err := admin.DescribeTopics([]string{topic})
	check.OK("describing the topic", err)
	check.Expect("error of the description", sarama.ErrNoError, described[0].Err)
	nodes, controller, err := admin.DescribeCluster()
	check.OK("describing the cluster", err)
	check.Expect("brokers", 1, len(nodes))
	check.Expect("controller", nodes[0].ID(), controller)
	for _, p := range described[0].Partitions {
		check.Expect("leader of a partition", nodes[0].ID(), p.Leader)
	}
}

func produce(brokers []string, version sarama.KafkaVersion, topic string) map[int]check.Place {
	codecs := []sarama.CompressionCodec{
		sarama.CompressionNone, sarama.CompressionGZIP, sarama.CompressionSnappy, sarama.CompressionLZ4, sarama.CompressionZSTD,
	}
	sent := map[int]check.Place{}
	for i, codec := range codecs {
		check.Step("produce with " + codec.String())
		c := config(version)
		c.Producer.Compression = codec
		producer, err := sarama.NewSyncProducer(brokers, c)
		check.OK("new producer", err)
		var messages []*sarama.ProducerMessage
		for n := i * check.Total / len(codecs); n < (i+1)*check.Total/len(codecs); n++ {
			m := &sarama.ProducerMessage{Topic: topic, Timestamp: check.Time(n), Metadata: n}
			if key := check.Key(n); key != nil {
				m.Key = sarama.ByteEncoder(key)
			}
			if value := check.Value(n); value != nil {
				m.Value = sarama.ByteEncoder(value)
			}
			for _, h := range check.Headers(n) {
				m.Headers = append(m.Headers, sarama.RecordHeader{Key: []byte(h.Name), Value: h.Value})
			}
			messages = append(messages, m)
		}
		check.OK("producing with "+codec.String(), producer.SendMessages(messages))
		for _, m := range messages {
			sent[m.Metadata.(int)] = check.Place{Partition: m.Partition, Offset: m.Offset}
		}
		check.OK("closing the producer", producer.Close())
	}
	return sent
}

// member is a consumer of a group, and what it owns at the moment.
type member struct {
	take  func(*sarama.ConsumerMessage) bool
	group sarama.ConsumerGroup
	ended chan struct{}

	mu      sync.Mutex
	session sarama.ConsumerGroupSession
	owned   []int32
}

// join starts a member; each record goes to take, which tells whether to mark it for the next commit.
func join(brokers []string, version sarama.KafkaVersion, topic, group string, take func(*sarama.ConsumerMessage) bool) *member {
	g, err := sarama.NewConsumerGroup(brokers, group, config(version))
	check.OK("new member", err)
	m := &member{take: take, group: g, ended: make(chan struct{})}
	go func() {
		defer check.Guard(name)
		for err := range g.Errors() {
			check.OK("consumer group", err)
		}
	}()
	go func() {
		defer check.Guard(name)
		defer close(m.ended)
		for {
			err := g.Consume(context.Background(), []string{topic}, m)
			if errors.Is(err, sarama.ErrClosedConsumerGroup) {
				return
			}
			check.OK("consuming", err)
		}
	}()
	return m
}

func (m *member) Setup(session sarama.ConsumerGroupSession) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.session = session
	for _, partitions := range session.Claims() {
		m.owned = partitions
	}
	return nil
}

func (m *member) Cleanup(sarama.ConsumerGroupSession) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.owned = nil
	return nil
}

func (m *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	defer check.Guard(name)
	for {
		select {
		case record, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			if m.take(record) {
				session.MarkMessage(record, fmt.Sprintf("at %d", record.Offset+1))
			}
		case <-session.Context().Done():
			return nil
		}
	}
}

func (m *member) now() []int32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]int32{}, m.owned...)
}

func (m *member) commit() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.session.Commit()
}

func (m *member) leave() {
	check.OK("leaving the group", m.group.Close())
	<-m.ended
}

func headers(record *sarama.ConsumerMessage) []check.Header {
	var all []check.Header
	for _, h := range record.Headers {
		all = append(all, check.Header{Name: string(h.Key), Value: h.Value})
	}
	return all
}

// consume runs a member until the ledger has count records, commits, looks at the group, and leaves it.
func consume(brokers []string, version sarama.KafkaVersion, admin sarama.ClusterAdmin, topic, group string, ledger *check.Ledger, count int) {
	// The claims of a member run at once; one at a time may pass the count.
	var mu sync.Mutex
	m := join(brokers, version, topic, group, func(r *sarama.ConsumerMessage) bool {
		mu.Lock()
		defer mu.Unlock()
		if count < check.Total && ledger.Count() >= count {
			return false
		}
		ledger.Take(check.Place{Partition: r.Partition, Offset: r.Offset}, r.Key, r.Value, headers(r), r.Timestamp)
		return true
	})
	check.Until(fmt.Sprintf("%d records", count), func() bool { return ledger.Count() >= count })
	if count == check.Total {
		// Whatever comes in this second is a record too many, and the ledger says so.
		time.Sleep(time.Second)
	}
	mu.Lock()
	m.commit()
	mu.Unlock()
	described, err := admin.DescribeConsumerGroups([]string{group})
	check.OK("describing the group", err)
	check.Expect("error of the description", sarama.ErrNoError, described[0].Err)
	check.Expect("state of a group with a member", "Stable", described[0].State)
	check.Expect("members", 1, len(described[0].Members))
	m.leave()
}

func lookUp(brokers []string, version sarama.KafkaVersion, topic string, ledger *check.Ledger) {
	check.Step("look offsets up, by place and by time, and seek there")
	client, err := sarama.NewClient(brokers, config(version))
	check.OK("new client", err)
	defer client.Close()
	lookUpOne := func(p int32, time, want int64) {
		got, err := client.GetOffset(topic, p, time)
		check.OK("looking an offset up", err)
		check.Expect(fmt.Sprintf("offset of time %d in %d", time, p), want, got)
	}
	for p, end := range ledger.NextOffset {
		lookUpOne(p, sarama.OffsetOldest, 0)
		lookUpOne(p, sarama.OffsetNewest, end)
		for _, n := range []int{0, 123, check.Total - 1} {
			lookUpOne(p, check.Time(n).UnixMilli(), ledger.FirstAtOrAfter(p, n, -1))
		}
	}
	consumer, err := sarama.NewConsumerFromClient(client)
	check.OK("new consumer", err)
	defer consumer.Close()
	at := ledger.Seen[321]
	partition, err := consumer.ConsumePartition(topic, at.Partition, at.Offset)
	check.OK("seek", err)
	defer partition.Close()
	select {
	case record := <-partition.Messages():
		check.Expect("offset after a seek", at.Offset, record.Offset)
		check.Expect("value after a seek", check.Value(321), record.Value)
	case err := <-partition.Errors():
		check.Fail("fetch after a seek: %v", err)
	case <-time.After(check.Wait):
		check.Fail("fetch after a seek: nothing within %v", check.Wait)
	}
}

func inspectGroup(admin sarama.ClusterAdmin, topic, group string, ledger *check.Ledger) {
	check.Step("list and describe the group")
	groups, err := admin.ListConsumerGroups()
	check.OK("listing groups", err)
	check.Expect("protocol type in the group list", "consumer", groups[group])
	described, err := admin.DescribeConsumerGroups([]string{group})
	check.OK("describing the group", err)
	check.Expect("state of a group without members", "Empty", described[0].State)
	committed, err := admin.ListConsumerGroupOffsets(group, map[string][]int32{topic: check.AllPartitions()})
	check.OK("fetching the group's offsets", err)
	check.Expect("error of the group's offsets", sarama.ErrNoError, committed.Err)
	for p, offset := range ledger.NextOffset {
		block := committed.GetBlock(topic, p)
		check.True(fmt.Sprintf("partition %d must have an offset", p), block != nil, committed)
		check.Expect(fmt.Sprintf("offset committed in %d", p), offset, block.Offset)
		check.Expect(fmt.Sprintf("text of the offset in %d", p), fmt.Sprintf("at %d", offset), block.Metadata)
	}
}

func share(brokers []string, version sarama.KafkaVersion, topic, group string) {
	check.Step("two members of one group")
	var seen check.Numbers
	first := join(brokers, version, topic, group, func(*sarama.ConsumerMessage) bool { return false })
	check.Until("all partitions with the first member", func() bool { return len(first.now()) == check.Partitions })
	second := join(brokers, version, topic, group, func(r *sarama.ConsumerMessage) bool {
		seen.Add(check.Number(headers(r)))
		return false
	})
	check.Until("partitions divided between two members", func() bool { return check.Divided(first.now(), second.now()) })
	first.leave()
	check.Until("all partitions with the member that stayed", func() bool { return len(second.now()) == check.Partitions })
	// Nothing was committed, so this member has read every record itself: what the other had comes again.
	check.Until("every record with the member that stayed", func() bool { return seen.Len() == check.Total })
	second.leave()
}

func remove(admin sarama.ClusterAdmin, topic string, groups ...string) {
	check.Step("delete the groups and the topic")
	for _, group := range groups {
		check.OK("deleting group "+group, admin.DeleteConsumerGroup(group))
	}
	left, err := admin.ListConsumerGroups()
	check.OK("listing groups", err)
	for _, group := range groups {
		_, ok := left[group]
		check.Expect("deleted group still listed: "+group, false, ok)
	}
	check.OK("deleting the topic", admin.DeleteTopic(topic))
	check.Settle()
	all, err := admin.ListTopics()
	check.OK("listing topics", err)
	_, ok := all[topic]
	check.Expect("deleted topic still listed", false, ok)
}
