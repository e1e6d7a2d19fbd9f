//! Windows events, as `evtx` and its kin write them in JSON, as Sigma rules name their fields and their source:
//! <https://sigmahq.io/docs/basics/log-sources.html>, and the field names of Sysmon.
//!
//! Start reading at [`windows_event`].

use serde_json::{Map, Value};

use super::LogSource;

/// One event, ready to be put to rules.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowsEvent {
    pub fields: Value,
    pub source: LogSource,
}

/// The fields of `System`, `EventData` and `UserData`, flat; attributes are fields of their own (`Provider_Name`), a
/// process that the audit log saw start is named as Sysmon names it, and hashes stand alone, too (`SHA256`).
/// `None` for what is no such event.
pub fn windows_event(event: &Value) -> Option<WindowsEvent> {
    let event = event.get("Event").unwrap_or(event);
    let system = event.get("System")?.as_object()?;
    let mut fields = Map::new();
    flatten(system, &mut fields);
    for part in ["EventData", "UserData", "ProcessingErrorData"] {
        if let Some(data) = event.get(part).and_then(Value::as_object) {
            flatten(data, &mut fields);
            // `UserData` and some `EventData` hold one element, which holds the fields.
            for inner in data.values().filter_map(Value::as_object) {
                flatten(inner, &mut fields);
            }
        }
    }
    let source = source(&fields);
    for (name, value) in [hashes(&fields), renamed(&fields, &source)].concat() {
        // What is there stays as it is.
        fields.entry(name).or_insert(value);
    }
    Some(WindowsEvent {
        fields: Value::Object(fields),
        source,
    })
}

const ATTRIBUTES: &str = "#attributes";
const TEXT: &str = "#text";

fn flatten(from: &Map<String, Value>, fields: &mut Map<String, Value>) {
    for (key, value) in from {
        if key == ATTRIBUTES || key == TEXT {
            continue;
        }
        for (name, attribute) in value.get(ATTRIBUTES).and_then(Value::as_object).into_iter().flatten() {
            fields
                .entry(format!("{key}_{name}"))
                .or_insert_with(|| attribute.clone());
        }
        let plain = value.get(TEXT).unwrap_or(value);
        fields.entry(key.clone()).or_insert_with(|| plain.clone());
    }
}

/// `SHA256=…,IMPHASH=…`, one by one, under the names that rules give them.
fn hashes(fields: &Map<String, Value>) -> Vec<(String, Value)> {
    let all = ["Hashes", "Hash"]
        .into_iter()
        .filter_map(|name| fields.get(name)?.as_str());
    let pairs = all
        .flat_map(|hashes| hashes.split(','))
        .filter_map(|pair| pair.trim().split_once('='));
    pairs
        .filter_map(|(kind, hash)| {
            let names: &[&str] = match kind.to_ascii_uppercase().as_str() {
                "MD5" => &["md5", "MD5"],
                "SHA1" => &["sha1", "SHA1"],
                "SHA256" => &["sha256", "SHA256"],
                "IMPHASH" => &["Imphash", "IMPHASH"],
                _ => return None,
            };
            Some(names.iter().map(move |name| ((*name).to_owned(), Value::from(hash))))
        })
        .flatten()
        .collect()
}

/// Fields that rules know by the name another program gives them: of a process start in the audit log (4688) that of
/// Sysmon, of what Defender found that of other antivirus programs.
fn renamed(fields: &Map<String, Value>, source: &LogSource) -> Vec<(String, Value)> {
    let names: &[(&str, &str)] = match (source.service.as_deref(), source.category.as_deref()) {
        (Some("security"), Some("process_creation")) => &[
            ("NewProcessName", "Image"),
            ("ParentProcessName", "ParentImage"),
            ("NewProcessId", "ProcessId"),
            ("SubjectUserName", "User"),
            ("MandatoryLabel", "IntegrityLevel"),
        ],
        (Some("windefend"), Some("antivirus")) => &[("Threat Name", "Signature"), ("Path", "Filename")],
        _ => &[],
    };
    let of = |(theirs, ours): &(&str, &str)| Some(((*ours).to_owned(), fields.get(*theirs)?.clone()));
    names.iter().filter_map(of).collect()
}

/// What rules call the source of this event. A source that they have no name for stays unknown.
fn source(fields: &Map<String, Value>) -> LogSource {
    let (service, category) = if is(fields, "Provider_Name", "Microsoft-Windows-Sysmon") {
        (Some("sysmon"), number(fields).and_then(sysmon_category))
    } else {
        let channel = fields.get("Channel").and_then(Value::as_str).unwrap_or_default();
        let service = SERVICES.iter().find(|(name, _)| name.eq_ignore_ascii_case(channel));
        let service = service.map(|(_, service)| *service);
        (
            service,
            number(fields).and_then(|number| audited_category(service, number)),
        )
    };
    LogSource {
        product: Some("windows".to_owned()),
        service: service.map(str::to_owned),
        category: category.map(str::to_owned),
    }
}

fn number(fields: &Map<String, Value>) -> Option<u64> {
    let id = fields.get("EventID")?;
    id.as_u64().or_else(|| id.as_str()?.parse().ok())
}

fn is(fields: &Map<String, Value>, name: &str, expected: &str) -> bool {
    let value = fields.get(name).and_then(Value::as_str);
    value.is_some_and(|value| value.eq_ignore_ascii_case(expected))
}

/// <https://learn.microsoft.com/sysinternals/downloads/sysmon>, under Sigma's names. `None` for events of which rules
/// have more than one category, and for those that they have none for.
fn sysmon_category(event: u64) -> Option<&'static str> {
    Some(match event {
        1 => "process_creation",
        2 => "file_change",
        3 => "network_connection",
        4 | 16 => "sysmon_status",
        5 => "process_termination",
        6 => "driver_load",
        7 => "image_load",
        8 => "create_remote_thread",
        9 => "raw_access_thread",
        10 => "process_access",
        11 => "file_event",
        15 => "create_stream_hash",
        17 | 18 => "pipe_created",
        19..=21 => "wmi_event",
        22 => "dns_query",
        23 => "file_delete",
        24 => "clipboard_change",
        25 => "process_tampering",
        27 => "file_block_executable",
        28 => "file_block_shredding",
        29 => "file_executable_detected",
        255 => "sysmon_error",
        _ => return None,
    })
}

fn audited_category(service: Option<&str>, event: u64) -> Option<&'static str> {
    match (service?, event) {
        ("security", 4688) => Some("process_creation"),
        ("powershell", 4103) => Some("ps_module"),
        ("powershell", 4104) => Some("ps_script"),
        ("powershell-classic", 400) => Some("ps_classic_start"),
        ("powershell-classic", 600) => Some("ps_classic_provider_start"),
        ("powershell-classic", 800) => Some("ps_classic_script"),
        ("windefend", 1006..=1012 | 1017..=1019 | 1115 | 1116) => Some("antivirus"),
        _ => None,
    }
}

/// Channels and what Sigma calls them: <https://github.com/SigmaHQ/sigma-specification>, appendix taxonomy.
const SERVICES: &[(&str, &str)] = &[
    ("Application", "application"),
    ("DNS Server", "dns-server"),
    ("MSExchange Management", "msexchange-management"),
    ("Microsoft-IIS-Configuration/Operational", "iis-configuration"),
    ("Microsoft-ServiceBus-Client", "microsoft-servicebus-client"),
    ("Microsoft-Windows-AppLocker/EXE and DLL", "applocker"),
    ("Microsoft-Windows-AppLocker/MSI and Script", "applocker"),
    ("Microsoft-Windows-AppLocker/Packaged app-Deployment", "applocker"),
    ("Microsoft-Windows-AppLocker/Packaged app-Execution", "applocker"),
    ("Microsoft-Windows-AppModel-Runtime/Admin", "appmodel-runtime"),
    (
        "Microsoft-Windows-AppXDeploymentServer/Operational",
        "appxdeployment-server",
    ),
    ("Microsoft-Windows-AppxPackaging/Operational", "appxpackaging-om"),
    (
        "Microsoft-Windows-Application-Experience/Program-Compatibility-Assistant",
        "application-experience",
    ),
    (
        "Microsoft-Windows-Application-Experience/Program-Telemetry",
        "application-experience",
    ),
    ("Microsoft-Windows-BitLocker/BitLocker Management", "bitlocker"),
    ("Microsoft-Windows-Bits-Client/Operational", "bits-client"),
    ("Microsoft-Windows-CAPI2/Operational", "capi2"),
    (
        "Microsoft-Windows-CertificateServicesClient-Lifecycle-System/Operational",
        "certificateservicesclient-lifecycle-system",
    ),
    (
        "Microsoft-Windows-CodeIntegrity/Operational",
        "codeintegrity-operational",
    ),
    ("Microsoft-Windows-DHCP-Server/Operational", "dhcp"),
    ("Microsoft-Windows-DNS Client Events/Operational", "dns-client"),
    ("Microsoft-Windows-DNS-Client/Operational", "dns-client"),
    ("Microsoft-Windows-DNS-Server/Analytical", "dns-server-analytic"),
    ("Microsoft-Windows-Diagnosis-Scripted/Operational", "diagnosis-scripted"),
    (
        "Microsoft-Windows-DriverFrameworks-UserMode/Operational",
        "driver-framework",
    ),
    ("Microsoft-Windows-Kernel-EventTracing", "kernel-event-tracing"),
    ("Microsoft-Windows-Kernel-ShimEngine/Diagnostic", "kernel-shimengine"),
    ("Microsoft-Windows-Kernel-ShimEngine/Operational", "kernel-shimengine"),
    ("Microsoft-Windows-LDAP-Client/Debug", "ldap"),
    ("Microsoft-Windows-LSA/Operational", "lsa-server"),
    ("Microsoft-Windows-NTLM/Operational", "ntlm"),
    ("Microsoft-Windows-Ntfs/Operational", "ntfs"),
    ("Microsoft-Windows-PowerShell/Operational", "powershell"),
    ("PowerShellCore/Operational", "powershell"),
    ("Windows PowerShell", "powershell-classic"),
    ("Microsoft-Windows-PrintService/Admin", "printservice-admin"),
    ("Microsoft-Windows-PrintService/Operational", "printservice-operational"),
    (
        "Microsoft-Windows-Security-Mitigations/Kernel Mode",
        "security-mitigations",
    ),
    (
        "Microsoft-Windows-Security-Mitigations/User Mode",
        "security-mitigations",
    ),
    ("Microsoft-Windows-Shell-Core/Operational", "shell-core"),
    ("Microsoft-Windows-SmbClient/Connectivity", "smbclient-connectivity"),
    ("Microsoft-Windows-SmbClient/Security", "smbclient-security"),
    ("Microsoft-Windows-SMBServer/Connectivity", "smbserver-connectivity"),
    ("Microsoft-Windows-TaskScheduler/Operational", "taskscheduler"),
    (
        "Microsoft-Windows-TerminalServices-LocalSessionManager/Operational",
        "terminalservices-localsessionmanager",
    ),
    ("Microsoft-Windows-VHDMP/Operational", "vhdmp"),
    ("Microsoft-Windows-WMI-Activity/Operational", "wmi"),
    ("Microsoft-Windows-Windows Defender/Operational", "windefend"),
    (
        "Microsoft-Windows-Windows Firewall With Advanced Security/Firewall",
        "firewall-as",
    ),
    ("OpenSSH/Operational", "openssh"),
    ("Security", "security"),
    ("System", "system"),
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(system: &Value, data: &Value) -> WindowsEvent {
        windows_event(&json!({"Event": {"System": system, "EventData": data}})).unwrap()
    }

    #[test]
    fn a_process_that_sysmon_saw_start() {
        let event = event(
            &json!({
                "Provider": {"#attributes": {"Name": "Microsoft-Windows-Sysmon"}},
                "EventID": {"#text": 1, "#attributes": {"Qualifiers": 0}}, "Channel": "Microsoft-Windows-Sysmon/Operational"
            }),
            &json!({"Image": "C:\\a.exe", "Hashes": "MD5=0A,SHA256=0B,IMPHASH=0C"}),
        );
        let fields = json!({
            "Provider": {"#attributes": {"Name": "Microsoft-Windows-Sysmon"}}, "Provider_Name": "Microsoft-Windows-Sysmon", "EventID": 1,
            "EventID_Qualifiers": 0, "Channel": "Microsoft-Windows-Sysmon/Operational", "Image": "C:\\a.exe",
            "Hashes": "MD5=0A,SHA256=0B,IMPHASH=0C", "md5": "0A", "MD5": "0A", "sha256": "0B", "SHA256": "0B", "Imphash": "0C",
            "IMPHASH": "0C"
        });
        assert_eq!(event.fields, fields);
        let named = |text: &str| Some(text.to_owned());
        let source = LogSource {
            product: named("windows"),
            service: named("sysmon"),
            category: named("process_creation"),
        };
        assert_eq!(event.source, source);
    }

    #[test]
    fn a_process_that_the_audit_log_saw_start() {
        let event = event(
            &json!({"EventID": "4688", "Channel": "Security"}),
            &json!({"NewProcessName": "C:\\a.exe", "User": "ann", "SubjectUserName": "bob"}),
        );
        assert_eq!(event.fields["Image"], "C:\\a.exe");
        assert_eq!(event.fields["User"], "ann", "what is there stays");
        assert_eq!(event.source.service.as_deref(), Some("security"));
        assert_eq!(event.source.category.as_deref(), Some("process_creation"));
    }

    #[test]
    fn a_threat_that_defender_found() {
        let event = event(
            &json!({"EventID": 1116, "Channel": "Microsoft-Windows-Windows Defender/Operational"}),
            &json!({"Threat Name": "HackTool:Win32/Mimikatz", "Path": "C:\\a.exe"}),
        );
        assert_eq!(event.fields["Signature"], "HackTool:Win32/Mimikatz");
        assert_eq!(event.source.category.as_deref(), Some("antivirus"));
    }

    #[test]
    fn user_data_is_one_level_deeper() {
        let event = json!({"Event": {"System": {"EventID": 5858}, "UserData": {"Operation": {"User": "ann", "#attributes": {"x": 1}}}}});
        let event = windows_event(&event).unwrap();
        assert_eq!(event.fields["User"], "ann");
        assert_eq!(event.source.service, None);
    }

    #[test]
    fn what_is_no_windows_event() {
        for other in [
            json!(null),
            json!([]),
            json!({"Event": 1}),
            json!({"System": "x"}),
            json!({"message": "x"}),
        ] {
            assert_eq!(windows_event(&other), None, "{other}");
        }
    }
}
