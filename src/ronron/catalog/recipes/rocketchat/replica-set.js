// Makes this one server a replica set, which Rocket.Chat needs: it learns of new messages from its
// log. Run by mongosh without a connection, again and again until it succeeds.
const password = require('fs').readFileSync('/run/secrets/db_root_password', 'utf8').trim()
const uri = `mongodb://root:${encodeURIComponent(password)}@127.0.0.1:27017/admin?directConnection=true`
const admin = connect(uri)
try {
  admin.adminCommand({ replSetGetStatus: 1 })
} catch (error) {
  if (error.codeName !== 'NotYetInitialized') throw error
  admin.adminCommand({ replSetInitiate: { _id: 'rs0', members: [{ _id: 0, host: 'db:27017' }] } })
}
