# What the tests need in an empty Redmine: users with API keys, projects, a field that is required, one for markers, and workflows.
Setting.rest_api_enabled = '1'
Setting.login_required = '1'
Setting.text_formatting = 'common_mark'
Setting.default_language = 'en'

keys = JSON.parse(ENV.fetch('TRACKER_KEYS'))
users = {'admin' => User.find_by_login('admin')}
users['admin'].update_columns(must_change_passwd: false)
keys.each_key do |login|
  next if login == 'admin'
  user = User.new(firstname: login.capitalize, lastname: 'Example', mail: "#{login}@acme.example")
  user.login = login
  user.password = user.password_confirmation = SecureRandom.hex(12)
  user.save!
  users[login] = user
end
keys.each do |login, key|
  Token.where(user_id: users[login].id, action: 'api').delete_all
  Token.create!(user_id: users[login].id, action: 'api').update_columns(value: key)
end

developer = Role.find_by_name('Developer')
developer.add_permission!(:add_issues, :edit_issues, :add_issue_notes, :edit_own_issue_notes, :delete_issues,
                          :set_notes_private, :view_private_notes)
reader = Role.create!(name: 'Read only', permissions: [:view_issues], issues_visibility: 'all')

# Bug: from every status to every other. Feature: the only way to close is Rejected. Support: there is no way to close.
ways = {'Bug' => ->(_to) { true }, 'Feature' => ->(to) { to.name != 'Closed' }, 'Support' => ->(to) { !to.is_closed }}
WorkflowTransition.where(role_id: developer.id).delete_all
Tracker.all.each do |tracker|
  IssueStatus.all.to_a.permutation(2) do |from, to|
    next unless ways[tracker.name].call(to)
    WorkflowTransition.create!(tracker_id: tracker.id, role_id: developer.id, old_status_id: from.id, new_status_id: to.id)
  end
end

projects = %w[shop office strict plain].to_h do |name|
  project = Project.new(name: name.capitalize, identifier: name, is_public: false)
  project.enabled_module_names = name == 'plain' ? ['wiki'] : ['issue_tracking']
  project.trackers = Tracker.all
  project.save!
  %w[tasks-bot ann ben].each { |login| Member.create!(project: project, principal: users[login], roles: [developer]) }
  Member.create!(project: project, principal: users['reader'], roles: [reader])
  [name, project]
end

required = IssueCustomField.create!(name: 'Root cause', field_format: 'list', possible_values: %w[code config unknown], is_required: true,
                                    is_for_all: false, projects: [projects['strict']], trackers: Tracker.all)
marker = IssueCustomField.create!(name: 'Tasks Pipeline', field_format: 'string', is_for_all: false, is_filter: true,
                                  projects: [projects['shop']], trackers: Tracker.all)
facts = {required_field: required.id, marker_field: marker.id, users: users.transform_values(&:id), projects: projects.transform_values(&:id),
         feed_key: users['admin'].respond_to?(:atom_key) ? users['admin'].atom_key : users['admin'].rss_key}
File.write(ENV.fetch('TRACKER_FACTS'), facts.to_json)
