import pg from "pg"
const url = process.argv[2]
const a = new pg.Client(url), b = new pg.Client(url), c = new pg.Client(url)
for (const x of [a,b,c]) await x.connect()
let both = 0
for (let i = 0; i < 3000; i++) {
  await c.query("drop table if exists notes"); await c.query("create table notes (id int primary key, body text)")
  const begun = Promise.all([a,b].map(x => x.query("begin isolation level serializable")))
  await begun
  const run = async (x, id) => { await x.query({ name: "s", text: "select id from notes order by id" }).catch(()=>{}); await x.query("insert into notes (id) values (" + id + ")") }
  let fails = 0
  const r = await Promise.allSettled([run(a,1), run(b,2)])
  fails += r.filter(x=>x.status==="rejected").length
  const k = await Promise.allSettled([a.query("commit"), b.query("commit")])
  fails += k.filter(x=>x.status==="rejected").length
  if (fails === 0) both++
}
console.log("plain both committed", both)
for (const x of [a,b,c]) await x.end()
