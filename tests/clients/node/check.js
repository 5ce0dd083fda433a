// What the Node.js program shares with those of the other languages: the records it writes, and the checks on what
// comes back. A record's place in the sequence travels in its header `n`.

const { isDeepStrictEqual, inspect } = require('node:util')

const PARTITIONS = 3
const TOTAL = 500
const HALF = TOTAL / 2
const USERS = 37
const LARGE = 7
// The first record's timestamp in milliseconds; record n follows n milliseconds later.
const START = (Math.floor(Date.now() / 1000) - 3600) * 1000
const WAIT = 30_000

class Mismatch extends Error {
  name = 'Mismatch'
}

function clip(value) {
  const text = inspect(value, { depth: 6, maxArrayLength: 20, maxStringLength: 200, breakLength: Infinity })
  return text.length <= 300 ? text : `${text.slice(0, 300)}... (${text.length} characters)`
}

/** Stops the program if `got` is not `want`. */
function expect(what, want, got) {
  if (!isDeepStrictEqual(want, got)) throw new Mismatch(`${what}: expected ${clip(want)}, got ${clip(got)}`)
}

/** Stops the program if `fact` does not hold of `got`. */
function expectTrue(what, fact, got) {
  if (!fact) throw new Mismatch(`${what}: got ${clip(got)}`)
}

/** Says on the program's log what it does next. */
function step(text) {
  console.log(`${new Date().toISOString().slice(11, 19)} ${text}`)
}

/** Time for a broker that answers an admin request before everybody sees what it did, as Apache Kafka does. The runner
 * gives none to streamd, whose answer means done. */
function settle() {
  return new Promise((resolve) => setTimeout(resolve, Number(process.env.CLIENTS_SETTLE_MS ?? 0)))
}

/** A name for topics and groups that no earlier run has used. */
function freshName(client) {
  return `clients-${client}-${process.pid}-${Math.floor(Date.now() / 1000) % 1_000_000}`
}

/** Record `n`'s key. Some have none. */
function keyOf(n) {
  return n % 50 === 10 ? null : Buffer.from(`user-${(n * 7) % USERS}`)
}

/** Record `n`'s value. One is large, some are null, some are empty. */
function valueOf(n) {
  if (n % 50 === 20) return null
  if (n % 50 === 30) return Buffer.alloc(0)
  if (n === LARGE) {
    return Buffer.concat([Buffer.from('large '), Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * 31) % 251))])
  }
  return Buffer.from(`record ${n} Zürich ` + '0123456789'.repeat(n % 40))
}

/** Record `n`'s headers: its number, one name twice, and an empty value. */
function headersOf(n) {
  return {
    n: Buffer.from(String(n)),
    twice: [Buffer.from('first'), Buffer.from('second')],
    empty: Buffer.alloc(0),
  }
}

/** Record `n`'s timestamp in milliseconds. */
function timeOf(n) {
  return START + n
}

/** Checks each record as it is consumed, and keeps what has been seen. */
class Ledger {
  seen = new Map()
  nextOffset = new Map()
  last = new Map()
  partitionOfKey = new Map()

  /** One record, as the client gave it to its user. */
  take(partition, message) {
    const offset = Number(message.offset)
    const n = Number(message.headers?.n)
    const at = `record at ${partition}:${offset} (n=${n})`
    expectTrue(`${at}, header n must be a number`, Number.isInteger(n), message.headers)
    expect(`${at}, key`, keyOf(n), message.key)
    expect(`${at}, value`, valueOf(n), message.value)
    expect(`${at}, headers`, headersOf(n), { ...message.headers })
    expect(`${at}, timestamp`, timeOf(n), Number(message.timestamp))
    expect(`${at}, offset`, this.nextOffset.get(partition) ?? 0, offset)
    const last = this.last.get(partition) ?? -1
    expectTrue(`${at}, must come after n=${last}`, n > last, n)
    expect(`${at}, earlier place of the same record`, undefined, this.seen.get(n))
    if (message.key !== null) {
      const key = message.key.toString()
      expect(`${at}, partition of key ${key}`, this.partitionOfKey.get(key) ?? partition, partition)
      this.partitionOfKey.set(key, partition)
    }
    this.seen.set(n, { partition, offset })
    this.nextOffset.set(partition, offset + 1)
    this.last.set(partition, n)
  }

  /** Every record must have been seen, exactly once, in all partitions. */
  complete() {
    expect('records consumed', TOTAL, this.seen.size)
    const missing = Array.from({ length: TOTAL }, (_, n) => n).filter((n) => !this.seen.has(n))
    expect('record numbers missing', [], missing)
    expect('partitions with records', [0, 1, 2], [...this.nextOffset.keys()].sort())
    expect('sum of the next offsets', TOTAL, [...this.nextOffset.values()].reduce((a, b) => a + b))
  }

  /** The offset that a lookup by time must find: that of the first record so young, else the end. */
  firstAtOrAfter(partition, timestamp) {
    const offsets = [...this.seen].filter(([n, at]) => at.partition === partition && timeOf(n) >= timestamp)
    return Math.min(this.nextOffset.get(partition), ...offsets.map(([, at]) => at.offset))
  }
}

/** Asks `attempt` until it answers something true; a mismatch after the wait. */
async function waitUntil(what, attempt) {
  const end = Date.now() + WAIT
  for (;;) {
    const got = await attempt()
    if (got) return got
    if (Date.now() > end) throw new Mismatch(`${what}: not so after ${WAIT / 1000} s`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** Runs `program(broker)`; exits 0 if it ends, 1 with one FAIL line if it does not. */
async function main(client, version, program) {
  if (process.argv.length < 3) {
    console.error(`usage: ${process.argv[1]} HOST:PORT`)
    process.exit(2)
  }
  console.log(`version: ${version}`)
  const fail = (error) => {
    console.log(error.stack)
    console.log(`FAIL ${client}: ${error.name}: ${error.message}`.replaceAll('\n', ' '))
    process.exit(1)
  }
  process.on('unhandledRejection', fail)
  try {
    await program(process.argv[2])
  } catch (error) {
    fail(error)
  }
  console.log('PASS')
  process.exit(0)
}

module.exports = {
  PARTITIONS,
  TOTAL,
  HALF,
  expect,
  expectTrue,
  step,
  settle,
  freshName,
  keyOf,
  valueOf,
  headersOf,
  timeOf,
  Ledger,
  waitUntil,
  main,
}
