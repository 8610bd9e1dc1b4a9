/* SPDX-License-Identifier: MIT */
#include "io/sqlite_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/sqlite_db.h"

/* Far behind the bytes that SQLite locks (from 1 GiB on, 512 of them). */
#define LOCK_BYTE (INT64_C(1) << 62)

/* An open-file-description lock is the inode's, so links do not get round it; and unlike a process's
 * lock it does not end when somebody in this process closes the file. */
enum cx_err sqlite_file_lock(const char *path, int *fd)
{
	struct flock lock = {
		.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = LOCK_BYTE, .l_len = 1
	};
	const int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (file < 0)
		return sqlite_db_fail("cannot open the database %s: %s", path, strerror(errno));
	if (fcntl(file, F_OFD_SETLK, &lock) != 0) {
		const int why = errno;

		close(file);
		if (why == EAGAIN || why == EACCES)
			return sqlite_db_fail("the database %s is in use by another process",
			                      path);
		return sqlite_db_fail("cannot lock %s: %s", path, strerror(why));
	}
	*fd = file;
	return CX_OK;
}

static void note(struct sqlite_file_name *name, const char *path)
{
	struct stat st;

	if (path == NULL || stat(path, &st) != 0)
		return;
	*name = (struct sqlite_file_name){ path, st.st_dev, st.st_ino };
}

void sqlite_file_note(struct sqlite_file *file, sqlite3 *db)
{
	const char *const path = sqlite3_db_filename(db, "main");

	memset(file, 0, sizeof(*file));
	note(&file->db, path);
	note(&file->wal, sqlite3_filename_wal(path));
}

static bool is_same(const struct sqlite_file_name *name)
{
	struct stat st;

	if (name->path == NULL)
		return true;
	if (stat(name->path, &st) != 0)
		/* only these say that it is gone */
		return errno != ENOENT && errno != ENOTDIR;
	return st.st_dev == name->device && st.st_ino == name->inode;
}

bool sqlite_file_is_there(const struct sqlite_file *file)
{
	return is_same(&file->db) && is_same(&file->wal);
}
