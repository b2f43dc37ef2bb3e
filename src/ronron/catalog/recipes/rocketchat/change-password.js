// What change-password.sh does: run by mongosh without a connection.
const env = process.env
const login = (password) => connect(
  `mongodb://root:${encodeURIComponent(password)}@127.0.0.1:27017/admin?directConnection=true`
)
const change = (password) => login(password)
  .getSiblingDB(env.CHANGED_DATABASE)
  .updateUser(env.CHANGED_USER, { pwd: env.NEW_PASSWORD })
try {
  if (env.CHANGED_USER !== 'root') {
    change(require('fs').readFileSync('/run/secrets/db_root_password', 'utf8').trim())
  } else {
    try {
      change(env.OLD_PASSWORD)
    } catch (error) {
      // Run a second time: the new one is the password already.
      if (error.codeName !== 'AuthenticationFailed') throw error
      change(env.NEW_PASSWORD)
    }
  }
} catch (error) {
  console.error(`change-password.sh: ${error.codeName || error.name}`)
  process.exit(1)
}
