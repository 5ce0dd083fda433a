// Command saramatxn runs sarama's transactions against a broker, once with the protocol versions that it takes by default
// and once with the newest it has.
package main

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"streamd/clients/check"
)

const (
	name = "sarama-transactions"
	// Records of a transaction, the same number for each partition.
	each = 30
	// How long nothing may come before nothing more is expected.
	quiet = 500 * time.Millisecond
)

// The transactions in their order.
var rounds = []string{"first", "aborted", "second"}

// client is what all steps share.
type client struct {
	brokers []string
	version sarama.KafkaVersion
	admin   sarama.ClusterAdmin
}

func main() {
	check.Main(name, "github.com/IBM/sarama", func(broker string) {
		for _, version := range []sarama.KafkaVersion{sarama.DefaultVersion, sarama.MaxVersion} {
			check.Step("as a client of Kafka " + version.String())
			run([]string{broker}, version)
		}
	})
}

func run(brokers []string, version sarama.KafkaVersion) {
	c := &client{brokers: brokers, version: version}
	admin, err := sarama.NewClusterAdmin(brokers, c.config())
	check.OK("new admin", err)
	defer admin.Close()
	c.admin = admin
	id := check.FreshName("sarama-txn") + "-" + version.String()
	source, target := id+"-in", id+"-out"
	for _, topic := range []string{source, target} {
		detail := &sarama.TopicDetail{NumPartitions: check.Partitions, ReplicationFactor: 1}
		check.OK("creating "+topic, admin.CreateTopic(topic, detail, false))
	}
	check.Settle()
	producer := c.producer(id + "-a")
	c.ends(producer, source)
	c.heldBack(producer, source)
	c.fenced(producer, source, id+"-a")
	c.process(source, target, id)
	for _, topic := range []string{source, target} {
		check.OK("deleting "+topic, admin.DeleteTopic(topic))
	}
}

func (c *client) config() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = c.version
	config.Consumer.IsolationLevel = sarama.ReadCommitted
	config.Consumer.MaxWaitTime = 50 * time.Millisecond
	return config
}

func (c *client) producer(id string) sarama.SyncProducer {
	config := c.config()
	config.Net.MaxOpenRequests = 1
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Idempotent = true
	config.Producer.Return.Successes = true
	config.Producer.Transaction.ID = id
	config.Producer.Partitioner = sarama.NewManualPartitioner
	producer, err := sarama.NewSyncProducer(c.brokers, config)
	check.OK("new producer", err)
	return producer
}

// words is what transactions of these kinds write to each partition.
func words(kinds ...string) map[int32][]string {
	all := map[int32][]string{}
	for _, kind := range kinds {
		for n := 0; n < each; n++ {
			p := int32(n % check.Partitions)
			all[p] = append(all[p], fmt.Sprintf("%s-%d", kind, n))
		}
	}
	return all
}

func write(producer sarama.SyncProducer, topic, kind string) {
	var messages []*sarama.ProducerMessage
	for partition, all := range words(kind) {
		for _, word := range all {
			messages = append(messages, &sarama.ProducerMessage{Topic: topic, Partition: partition, Value: sarama.StringEncoder(word)})
		}
	}
	check.OK("records of "+kind, producer.SendMessages(messages))
}

func transact(producer sarama.SyncProducer, topic, kind string) {
	check.OK("begin", producer.BeginTxn())
	write(producer, topic, kind)
	if kind == "aborted" {
		check.OK("abort", producer.AbortTxn())
	} else {
		check.OK("commit", producer.CommitTxn())
	}
}

// take reads so many records of a partition from an offset on, and what comes within a while after them.
func (c *client) take(topic string, partition int32, offset int64, count int, while time.Duration, isolation sarama.IsolationLevel) []*sarama.ConsumerMessage {
	config := c.config()
	config.Consumer.IsolationLevel = isolation
	consumer, err := sarama.NewConsumer(c.brokers, config)
	check.OK("new consumer", err)
	defer consumer.Close()
	reader, err := consumer.ConsumePartition(topic, partition, offset)
	check.OK("reading "+topic, err)
	defer reader.Close()
	var taken []*sarama.ConsumerMessage
	for {
		limit := check.Wait
		if len(taken) >= count {
			limit = while
		}
		select {
		case message := <-reader.Messages():
			taken = append(taken, message)
		case <-time.After(limit):
			check.True(fmt.Sprintf("%d records of %s-%d in time", count, topic, partition), len(taken) >= count, len(taken))
			return taken
		}
		if len(taken) == count && while == 0 {
			return taken
		}
	}
}

// expectRead checks that a reader of this isolation is given what these transactions wrote, and nothing else.
func (c *client) expectRead(topic string, isolation sarama.IsolationLevel, kinds ...string) {
	seen := map[int32][]string{}
	var mu sync.Mutex
	var readers sync.WaitGroup
	for _, p := range check.AllPartitions() {
		readers.Go(func() {
			defer check.Guard(name)
			taken := c.take(topic, p, sarama.OffsetOldest, each*len(kinds)/check.Partitions, quiet, isolation)
			mu.Lock()
			defer mu.Unlock()
			for _, message := range taken {
				seen[p] = append(seen[p], string(message.Value))
			}
		})
	}
	readers.Wait()
	check.Expect("what is read of "+topic, words(kinds...), seen)
}

func (c *client) ends(producer sarama.SyncProducer, topic string) {
	check.Step("commit, abort, commit")
	for _, kind := range rounds {
		transact(producer, topic, kind)
	}
	check.Settle()
	c.expectRead(topic, sarama.ReadCommitted, "first", "second")
	c.expectRead(topic, sarama.ReadUncommitted, rounds...)
}

func (c *client) heldBack(producer sarama.SyncProducer, topic string) {
	check.Step("an open transaction holds readers back")
	check.OK("begin", producer.BeginTxn())
	write(producer, topic, "open")
	c.expectRead(topic, sarama.ReadCommitted, "first", "second")
	c.expectRead(topic, sarama.ReadUncommitted, append(rounds, "open")...)
	check.OK("abort", producer.AbortTxn())
}

func (c *client) fenced(producer sarama.SyncProducer, topic, id string) {
	check.Step("a second producer of the same transactional id")
	check.OK("begin", producer.BeginTxn())
	write(producer, topic, "zombie")
	second := c.producer(id)
	defer second.Close()
	err := producer.CommitTxn()
	isFence := errors.Is(err, sarama.ErrInvalidProducerEpoch) || errors.Is(err, sarama.ErrProducerFenced)
	check.True("the first producer's commit must be refused", isFence, err)
	check.Step("refused: " + err.Error())
	transact(second, topic, "last")
	check.Settle()
	c.expectRead(topic, sarama.ReadCommitted, "first", "second", "last")
}

// committed is where the group goes on in a partition; it begins with the first record.
func (c *client) committed(group, topic string, partition int32) int64 {
	offsets, err := c.admin.ListConsumerGroupOffsets(group, map[string][]int32{topic: {partition}})
	check.OK("fetching the group's offsets", err)
	block := offsets.GetBlock(topic, partition)
	check.True("the answer must name the partition", block != nil, offsets)
	check.Expect("error of the group's offset", sarama.ErrNoError, block.Err)
	return max(block.Offset, 0)
}

// process reads, writes what it read to the other topic, commits both as one; some transactions are aborted.
func (c *client) process(source, target, id string) {
	check.Step("read, process, write")
	group := id + "-group"
	producer := c.producer(id + "-b")
	defer producer.Close()
	turn := 0
	for _, p := range check.AllPartitions() {
		end := time.Now().Add(check.Wait)
		for done := 0; done < each; {
			check.True("records processed in time", time.Now().Before(end), done)
			taken := c.take(source, p, c.committed(group, source, p), min(7, each-done), 0, sarama.ReadCommitted)
			turn++
			check.OK("begin", producer.BeginTxn())
			var messages []*sarama.ProducerMessage
			for _, message := range taken {
				value := sarama.ByteEncoder(message.Value)
				messages = append(messages, &sarama.ProducerMessage{Topic: target, Partition: p, Value: value})
			}
			check.OK("writing on", producer.SendMessages(messages))
			check.OK("adding offsets", producer.AddMessageToTxn(taken[len(taken)-1], group, nil))
			if turn%3 == 0 {
				check.OK("abort", producer.AbortTxn())
			} else {
				check.OK("commit", producer.CommitTxn())
				done += len(taken)
			}
			check.Settle()
		}
	}
	check.True("some were aborted", turn >= 3, turn)
	c.expectRead(target, sarama.ReadCommitted, "first", "second", "last")
	for _, p := range check.AllPartitions() {
		left := c.take(source, p, c.committed(group, source, p), 0, quiet, sarama.ReadCommitted)
		check.Expect(fmt.Sprintf("records behind the group's offset in %d", p), 0, len(left))
	}
}
