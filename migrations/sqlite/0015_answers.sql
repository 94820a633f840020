-- What to answer for a label.

-- JSON: answers by label.
ALTER TABLE tasks ADD COLUMN answers TEXT NOT NULL DEFAULT '{}';
